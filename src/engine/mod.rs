//! Local inference: from a model file to generated text.
//!
//! `checkpoint` opens a file or folder, and `adapter` what is to be added to it; `weights` (over `gguf`, and `folder` with `safetensors` and `torch`), `tokenizer` and `template` read
//! what it holds, `arch` computes logits, `generate` is the decode loop over the seam in `batch`, `think` removes a
//! reasoning model's thoughts from the answer.

pub mod adapter;
pub mod arch;
pub mod batch;
pub mod beam;
pub mod checkpoint;
pub mod device;
pub mod fake;
pub mod folder;
pub mod generate;
pub mod generation;
pub mod gguf;
pub mod probe;
pub mod rules;
pub mod safetensors;
pub mod sampler;
pub mod template;
pub mod think;
pub mod tokenizer;
pub mod torch;
pub mod weights;

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, ensure};
use candle_core::Device;

use self::batch::Model;
use self::checkpoint::Checkpoint;
use self::generate::{Row, Text};
use self::generation::GenerationConfig;
use self::probe::Probes;
use self::sampler::Sampling;
use self::template::{ChatTemplate, Message};
use self::tokenizer::Tokenizer;
use crate::summarize::{Llm, Request, Written};

/// A language model on a device, ready to answer.
pub struct Engine {
    model: Box<dyn Model>,
    tokenizer: Tokenizer,
    /// `None` for an encoder-decoder, which reads a text and not a conversation.
    template: Option<ChatTemplate>,
    generation: GenerationConfig,
    window: usize,
    /// Tokens the weights know.
    vocab: usize,
    quantization: String,
    probes: Option<Probes>,
}

impl Engine {
    /// Loads a `.gguf` file or a folder: weights, tokenizer and chat template come from it.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        Self::new(&Checkpoint::open(path)?, device)
    }

    /// The same of a checkpoint that was opened, and adapted maybe.
    pub fn new(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        let tokenizer = checkpoint.tokenizer()?;
        let (template, generation) = match checkpoint.generation() {
            Some(generation) => (None, generation.clone()),
            None => (
                Some(checkpoint.template(&tokenizer)?),
                GenerationConfig::plain(tokenizer.stops.clone()),
            ),
        };
        let (model, window) = checkpoint.model(device)?;
        Ok(Self {
            window,
            vocab: checkpoint.vocab(),
            quantization: checkpoint.weights.quantization(),
            probes: checkpoint.probes().cloned(),
            model,
            tokenizer,
            template,
            generation,
        })
    }

    /// The type most weights are stored in: `Q4_1`.
    pub fn quantization(&self) -> &str {
        &self.quantization
    }

    /// The ids of a request's prompt, template included.
    fn prompt(&self, request: &Request) -> Result<Vec<u32>> {
        let Some(template) = &self.template else {
            return self.source(request);
        };
        let mut messages = Vec::new();
        if let Some(system) = &request.system {
            messages.push(Message {
                role: "system",
                content: system,
            });
        }
        messages.push(Message {
            role: "user",
            content: &request.user,
        });
        let mut text = template.render(&messages)?;
        text.push_str(&request.answer_start);
        let ids = self.known(self.tokenizer.encode(&text)?)?;
        ensure!(
            ids.len() + request.max_tokens <= self.window,
            "a prompt of {} tokens and {} to write do not fit the model's window of {}; choose a model with a larger one \
             ('chapterize models list')",
            ids.len(),
            request.max_tokens,
            self.window
        );
        Ok(ids)
    }

    /// The token an answer begins with that says this.
    fn first_token(&self, text: Option<&str>) -> Result<Option<u32>> {
        let Some(text) = text else {
            return Ok(None);
        };
        let ids = self.known(self.tokenizer.encode(text)?)?;
        Ok(ids.first().copied())
    }

    /// The ids of what is dictated, and of the end.
    fn dictated(&self, request: &Request) -> Result<Option<Vec<u32>>> {
        let ids = |text: &String| {
            let ids = self
                .tokenizer
                .continued(&format!("{text}{}", self.tokenizer.eos_token))?;
            self.known(ids)
        };
        request.dictated.as_ref().map(ids).transpose()
    }

    /// What the probes that a request names tell of a text.
    fn probed(&self, request: &Request, text: &Text) -> Vec<f32> {
        match (request.probe, &self.probes, &text.state) {
            (Some(name), Some(probes), Some(state)) => probes.read(name, state),
            _ => Vec::new(),
        }
    }

    /// Ids that are all in the weights' vocabulary, or an error.
    fn known(&self, ids: Vec<u32>) -> Result<Vec<u32>> {
        let unknown = ids.iter().find(|id| **id as usize >= self.vocab);
        ensure!(
            unknown.is_none(),
            "the prompt has a token ({}) that the model's weights do not know; the tokenizer is not theirs",
            unknown.unwrap_or(&0)
        );
        Ok(ids)
    }

    /// An answer without what stands in it for something else.
    fn clean(&self, answer: &str) -> String {
        match &self.template {
            Some(_) => think::without_thoughts(answer),
            // Pegasus was trained on texts whose line ends are written so.
            None => answer.replace("<n>", "\n"),
        }
    }

    /// The ids of what an encoder-decoder reads. It writes from the start; no words can be put into its mouth.
    fn source(&self, request: &Request) -> Result<Vec<u32>> {
        let system = request.system.as_deref().unwrap_or_default();
        let text = [system, &request.user].join("\n");
        let ids = self.known(self.tokenizer.encode_source(text.trim_start())?)?;
        ensure!(
            ids.len() <= self.window && request.max_tokens <= self.window,
            "a source of {} tokens or {} to write do not fit the model's window of {} for each; choose a model \
             with a larger one ('chapterize models list')",
            ids.len(),
            request.max_tokens,
            self.window
        );
        Ok(ids)
    }
}

impl Llm for Engine {
    fn window(&self) -> usize {
        self.window
    }

    fn count(&self, text: &str) -> usize {
        self.tokenizer.count(text)
    }

    fn generate(
        &self,
        requests: &[Request],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Written>> {
        let mut prompts = HashMap::<(&Option<String>, &str, &str), Rc<Vec<u32>>>::new();
        let mut rows = Vec::with_capacity(requests.len());
        for request in requests {
            let key = (
                &request.system,
                request.user.as_str(),
                request.answer_start.as_str(),
            );
            let prompt = match prompts.get(&key) {
                Some(prompt) => prompt.clone(),
                None => {
                    let prompt = Rc::new(self.prompt(request)?);
                    prompts.insert(key, prompt.clone());
                    prompt
                }
            };
            rows.push(Row {
                prompt,
                max_tokens: request.max_tokens,
                sampling: Sampling {
                    refusal: self.first_token(request.refusal.as_deref())?,
                    ..request.sampling
                },
                dictated: self.dictated(request)?.map(Rc::new),
                traced: request
                    .probe
                    .and(self.probes.as_ref())
                    .map(|probes| probes.layer),
            });
        }
        generate::generate_with(&*self.model, &rows, &self.generation, progress)?
            .iter()
            .zip(requests)
            .map(|(text, request)| {
                Ok(Written {
                    text: self.clean(&self.tokenizer.decode(&text.ids)?),
                    doubt: text.doubt,
                    refusal: text.refusal,
                    surprise: text.surprise,
                    probed: self.probed(request, text),
                })
            })
            .collect()
    }
}
