//! SentencePiece unigram models with the special tokens of T5, Pegasus, mBART and mBART-50.
//!
//! Ids as transformers' `T5Converter`, `PegasusConverter`, `MBartConverter` and `MBart50Converter` give them. Text is
//! normalized as the model's file asks, which is how the checkpoints were trained: white space at the end of a text and
//! in rows leaves no tokens. (transformers 5 lets some through for Pegasus and mBART-50, and drops mBART's
//! normalization.)

use anyhow::{Context, Result, anyhow, ensure};
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{NormalizerWrapper, Sequence, Strip};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, DecoderWrapper};

use super::Family;
use super::added::Added;
use super::model_file::ModelFile;
use crate::engine::tokenizer::Tokenizer;
use crate::engine::tokenizer::directory::Files;
use crate::engine::tokenizer::gguf::Kind;

/// What stands for a space inside pieces.
const SPACE: char = '\u{2581}';

/// The languages of mBART, in the order of their ids; the first 25 are the smaller model's.
const LANGUAGES: [&str; 52] = [
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN",
    "it_IT", "ja_XX", "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO",
    "ru_RU", "si_LK", "tr_TR", "vi_VN", "zh_CN", "af_ZA", "az_AZ", "bn_IN", "fa_IR", "he_IL",
    "hr_HR", "id_ID", "ka_GE", "km_KH", "mk_MK", "ml_IN", "mn_MN", "mr_IN", "pl_PL", "ps_AF",
    "pt_XX", "sv_SE", "sw_KE", "ta_IN", "te_IN", "th_TH", "tl_XX", "uk_UA", "ur_PK", "xh_ZA",
    "gl_ES", "sl_SI",
];

/// How a family's ids follow from the pieces of the file.
struct Layout {
    /// Take the place of the first `skip` pieces.
    before: Vec<String>,
    skip: usize,
    after: Vec<String>,
    unknown: usize,
    /// Around a text to be read, which is `$A`.
    frame: Vec<String>,
}

pub(super) fn read(family: Family, file: ModelFile, files: &Files) -> Result<Tokenizer> {
    let layout = Layout::of(family, &file, files)?;
    let control = file.pieces[layout.skip..]
        .iter()
        .filter(|piece| matches!(piece.kind, Kind::Control | Kind::UserDefined))
        .map(|piece| AddedToken::from(&*piece.text, piece.kind == Kind::Control).normalized(false))
        .collect::<Vec<_>>();
    let prepend = match file.dummy_prefix {
        true => PrependScheme::Always,
        false => PrependScheme::Never,
    };
    let spaces = Metaspace::new(SPACE, prepend, true);
    let normalizers = normalizers(&file)?;
    let byte_fallback = file.byte_fallback;
    let unigram = Unigram::from(layout.pieces(file), Some(layout.unknown), byte_fallback)
        .map_err(|e| anyhow!("{e}"))?;
    let mut model = tokenizers::Tokenizer::new(unigram);
    model
        .with_normalizer(Some(Sequence::new(normalizers)))
        .map_err(|e| anyhow!("{e}"))?;
    model.with_pre_tokenizer(Some(spaces.clone()));
    let decoders: [DecoderWrapper; 2] = [ByteFallback::new().into(), spaces.into()];
    model.with_decoder(Some(Decoders::new(decoders.into())));
    let mut added = Added::read(files)?;
    added.extend(control);
    added.extend_special(layout.before);
    added.extend_special(layout.after);
    added.add_to(&mut model)?;
    frame(&mut model, &layout.frame)?;
    Ok(Tokenizer::of_pieces(model))
}

/// Replaces characters, then removes the white space that says nothing.
fn normalizers(file: &ModelFile) -> Result<Vec<NormalizerWrapper>> {
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if let Some(replacements) = file.charsmap.clone() {
        steps.push(replacements.into());
    }
    if file.remove_extra_whitespaces {
        let rows = ReplacePattern::Regex(" {2,}".to_string());
        let one = Replace::new(rows, SPACE).map_err(|e| anyhow!("{e}"))?;
        steps.extend([Strip::new(true, true).into(), one.into()]);
    }
    Ok(steps)
}

fn frame(model: &mut tokenizers::Tokenizer, frame: &[String]) -> Result<()> {
    let tokens = frame.iter().filter(|name| *name != "$A").map(|name| {
        let id = model.token_to_id(name);
        Ok((
            name.clone(),
            id.with_context(|| format!("no token '{name}'"))?,
        ))
    });
    let tokens = tokens.collect::<Result<Vec<_>>>()?;
    let frame = TemplateProcessing::builder()
        .try_single(frame.to_vec())
        .map_err(|e| anyhow!("{e}"))?
        .special_tokens(tokens)
        .build()?;
    model.with_post_processor(Some(frame));
    Ok(())
}

impl Layout {
    fn of(family: Family, file: &ModelFile, files: &Files) -> Result<Self> {
        let layout = match family {
            Family::T5 => Self::t5(file, files),
            Family::Pegasus => Self::pegasus(file, files),
            _ => Self::mbart(family == Family::MBart50, files)?,
        };
        ensure!(
            layout.skip <= file.pieces.len(),
            "{} pieces are too few",
            file.pieces.len()
        );
        Ok(layout)
    }

    /// A text to be read ends with the end of the sequence.
    fn ended(files: &Files) -> Vec<String> {
        let end = files.token("eos_token").unwrap_or_default();
        vec!["$A".to_string(), end]
    }

    /// The file's ids, then tokens that stand for gaps, the last first.
    fn t5(file: &ModelFile, files: &Files) -> Self {
        let gaps = files.tokenizer_config["extra_ids"].as_u64().unwrap_or(100);
        Self {
            before: Vec::new(),
            skip: 0,
            after: (0..gaps.min(10_000))
                .rev()
                .map(|i| format!("<extra_id_{i}>"))
                .collect(),
            unknown: file.unknown,
            frame: Self::ended(files),
        }
    }

    /// Padding and end, then what only training used: masks of sentences and of words, and unknown tokens by number.
    fn pegasus(file: &ModelFile, files: &Files) -> Self {
        let offset = files.tokenizer_config["offset"]
            .as_u64()
            .unwrap_or(103)
            .min(10_000);
        let name = |key: &str, default: &str| match files.tokenizer_config.get(key) {
            Some(value) if value.is_null() => None,
            _ => Some(files.token(key).unwrap_or(default.to_string())),
        };
        let mut before = vec![name("pad_token", "<pad>"), name("eos_token", "</s>")];
        if offset > 0 {
            before.extend([
                name("mask_token_sent", "<mask_1>"),
                name("mask_token", "<mask_2>"),
            ]);
        }
        let mut before = before.into_iter().flatten().collect::<Vec<_>>();
        before.extend((2..offset).map(|i| format!("<unk_{i}>")));
        Self {
            unknown: (before.len() + file.unknown).saturating_sub(2),
            before,
            skip: 2,
            after: Vec::new(),
            frame: Self::ended(files),
        }
    }

    /// fairseq's order of special tokens; the language of a text follows its end in mBART and leads it in mBART-50.
    fn mbart(fifty: bool, files: &Files) -> Result<Self> {
        let languages = &LANGUAGES[..if fifty { 52 } else { 25 }];
        let language = files.tokenizer_config["src_lang"]
            .as_str()
            .unwrap_or("en_XX");
        ensure!(
            languages.contains(&language),
            "tokenizer_config.json: src_lang '{language}' is none of {}",
            languages.join(", ")
        );
        let name = |key: &str| files.token(key).unwrap_or_default();
        let mut frame = Self::ended(files);
        frame.insert(if fifty { 0 } else { 2 }, language.to_string());
        let languages = languages.iter().map(ToString::to_string);
        Ok(Self {
            before: ["cls_token", "pad_token", "eos_token", "unk_token"]
                .map(name)
                .into(),
            skip: 3,
            after: languages.chain([name("mask_token")]).collect(),
            unknown: 3,
            frame,
        })
    }

    /// Pieces with scores, in the family's order. Special tokens are matched before scores count, but the lowest is
    /// what an unknown character is measured by: theirs is that of the rarest piece.
    fn pieces(&self, file: ModelFile) -> Vec<(String, f64)> {
        let lowest = file.pieces.iter().map(|piece| f64::from(piece.score));
        let lowest = lowest.fold(0., f64::min);
        let special = |names: &[String]| {
            names
                .iter()
                .map(|name| (name.clone(), lowest))
                .collect::<Vec<_>>()
        };
        let pieces = file.pieces.into_iter().skip(self.skip);
        let pieces = pieces.map(|piece| (piece.text, f64::from(piece.score)));
        special(&self.before)
            .into_iter()
            .chain(pieces)
            .chain(special(&self.after))
            .collect()
    }
}
