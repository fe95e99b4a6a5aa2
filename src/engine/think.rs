//! Thoughts of reasoning models, which are no part of the answer.
//!
//! Qwen3, SmolLM3 and the DeepSeek-R1 distillations write them between `<think>` and `</think>`. Their templates are
//! rendered without thinking where they offer it; what remains is handled here.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// A prompt that ends inside thoughts is closed there, so that the model answers at once.
///
/// The empty thoughts look as in Qwen3's template.
pub fn answer_at_once(prompt: &str) -> String {
    match prompt.trim_end().strip_suffix(OPEN) {
        Some(before) => format!("{before}{OPEN}\n\n{CLOSE}\n\n"),
        None => prompt.to_string(),
    }
}

/// An answer without thoughts: `<think>…</think>` wherever it stands, everything before a `</think>` whose beginning
/// was in the prompt, and everything after a `<think>` that was never closed.
pub fn without_thoughts(text: &str) -> String {
    let mut answer = String::new();
    let mut rest = text;
    while let Some(close) = rest.find(CLOSE) {
        // Without an opening mark before it, all of this was thought.
        match rest[..close].find(OPEN) {
            Some(open) => answer.push_str(&rest[..open]),
            None => answer.clear(),
        }
        rest = &rest[close + CLOSE.len()..];
    }
    answer.push_str(rest.split(OPEN).next().unwrap_or(""));
    if answer.len() < text.len() {
        answer.trim().into()
    } else {
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_thought_at_the_end_of_a_prompt_is_closed() {
        for end in ["<think>", "<think>\n", "<think>\n\n"] {
            let prompt = answer_at_once(&format!("Hi<|assistant|>{end}"));
            assert_eq!(prompt, "Hi<|assistant|><think>\n\n</think>\n\n");
        }
        for prompt in ["Hi\n", "<think>\n\n</think>\n\n", "say <think> or not"] {
            assert_eq!(answer_at_once(prompt), prompt);
        }
    }

    #[test]
    fn thoughts_are_removed_and_nothing_else() {
        for (text, answer) in [
            (" An answer.\n", " An answer.\n"),
            ("", ""),
            ("<think>\nHm.\n</think>\n\nYes.", "Yes."),
            ("A <think>b</think>c <think>d</think>e.", "A c e."),
            ("Hm, well.\n</think>\nYes.", "Yes."),
            ("Hm.</think>One. <think>x</think>Two.", "One. Two."),
            ("<think>\nHm, and so", ""),
            ("Yes. <think>\nHm", "Yes."),
            ("<think>a <think>b</think>Yes.", "Yes."),
        ] {
            assert_eq!(without_thoughts(text), answer, "{text:?}");
        }
    }
}
