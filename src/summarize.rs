use crate::engine::sampler::Sampling;
use anyhow::Result;
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);
#[derive(Debug, Clone)]
pub struct Request {
    pub system: Option<String>,
    pub user: String,
    pub answer_start: String,
    pub max_tokens: usize,
    pub sampling: Sampling,
}
pub trait Llm {
    fn window(&self) -> usize;
    fn count(&self, text: &str) -> usize;
    fn generate(&self, requests: &[Request], progress: Progress<'_>) -> Result<Vec<String>>;
}
