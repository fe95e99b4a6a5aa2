//! How near the titles of chapters are to those people gave chapters that begin at the same place.

use anyhow::Result;

use super::boundaries::{Text, WORDS};
use super::documents::Document;
use super::rouge;
use crate::chapters::embed::{Encode, cosine};
use crate::summary::Summary;

/// Means over the chapters that begin where a person's do, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Titles {
    pub rouge_l: f64,
    pub cosine: f64,
}

/// Compares the titles of a summary with a person's; `None` where no chapter that has a title begins near a person's that has one.
pub fn compare(
    text: &Text,
    document: &Document,
    summary: &Summary,
    encoder: &dyn Encode,
) -> Result<Option<Titles>> {
    let mut human = document.titles();
    let mut pairs = Vec::new();
    for chapter in &summary.chapters {
        let distance =
            |&(cue, _): &(usize, &str)| text.words_between(cue, chapter.first_cue) as f64;
        let nearest = (0..human.len())
            .min_by(|&a, &b| distance(&human[a]).total_cmp(&distance(&human[b])))
            .filter(|&nearest| distance(&human[nearest]) <= WORDS);
        if let (Some(nearest), Some(title)) = (nearest, &chapter.title) {
            // One to one: nobody's title counts twice.
            pairs.push((title.as_str(), human.remove(nearest).1));
        }
    }
    if pairs.is_empty() {
        return Ok(None);
    }
    let texts = pairs.iter().flat_map(|(own, human)| [*own, *human]);
    let vectors = encoder.encode(&texts.collect::<Vec<_>>(), &mut |_| {})?;
    let cosines = vectors
        .chunks_exact(2)
        .map(|pair| f64::from(cosine(&pair[0], &pair[1])));
    let rouge = pairs.iter().map(|(own, human)| rouge::l(own, human));
    let count = pairs.len() as f64;
    Ok(Some(Titles {
        rouge_l: rouge.sum::<f64>() / count,
        cosine: cosines.sum::<f64>() / count,
    }))
}
