//! Local inference: from a model file to generated text.
//!
//! `weights` and `tokenizer` read the file, `arch` computes logits, `generate` is the decode loop over the seam
//! in `batch`, `template` turns messages into the prompt the checkpoint was trained on.

pub mod arch;
pub mod batch;
pub mod device;
pub mod fake;
pub mod generate;
pub mod sampler;
pub mod template;
pub mod tokenizer;
pub mod weights;

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use candle_core::Device;

use self::arch::decoder::Decoder;
use self::batch::Model;
use self::generate::Row;
use self::template::{ChatTemplate, Message};
use self::tokenizer::Tokenizer;
use self::weights::Gguf;
use crate::summarize::{Llm, Request};

/// A language model on a device, ready to answer.
pub struct Engine {
    model: Box<dyn Model>,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    window: usize,
    quantization: String,
}

impl Engine {
    /// Loads a GGUF file: weights, tokenizer and chat template come from it.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let source = gguf.string("tokenizer.chat_template").with_context(
            || "the checkpoint has no chat template; it is not tuned to follow instructions",
        )?;
        let template = ChatTemplate::new(source, &tokenizer.bos_token, &tokenizer.eos_token)
            .with_context(|| path.display().to_string())?;
        let decoder = Decoder::load(&gguf, device)?;
        Ok(Self {
            window: decoder.config().window,
            quantization: gguf.quantization(),
            model: Box::new(decoder),
            tokenizer,
            template,
        })
    }

    /// The type most weights are stored in: `Q4_1`.
    pub fn quantization(&self) -> &str {
        &self.quantization
    }

    /// The ids of a request's prompt, template included.
    fn prompt(&self, request: &Request) -> Result<Vec<u32>> {
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
        let mut text = self.template.render(&messages)?;
        text.push_str(&request.answer_start);
        let ids = self.tokenizer.encode(&text)?;
        ensure!(
            ids.len() + request.max_tokens <= self.window,
            "a prompt of {} tokens and {} to write do not fit the model's window of {}",
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
    ) -> Result<Vec<String>> {
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
                sampling: request.sampling,
            });
        }
        generate::generate(&*self.model, &rows, &self.tokenizer.stops, progress)?
            .iter()
            .map(|ids| self.tokenizer.decode(ids))
            .collect()
    }
}
