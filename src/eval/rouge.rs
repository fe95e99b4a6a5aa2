//! ROUGE (Lin 2004): the overlap of two texts as F1, over words in lower case, without stemming. Reference: `rouge_score` of
//! google-research with `use_stemmer=False`, whose tokens (runs of ASCII letters and digits) these are.

use std::collections::HashMap;

/// ROUGE-N of a text and the one a person wrote, 0 to 1.
pub fn n(n: usize, text: &str, reference: &str) -> f64 {
    let (text, reference) = (tokens(text), tokens(reference));
    let counts = |tokens: &[String]| {
        let mut counts = HashMap::<Vec<String>, usize>::new();
        for run in tokens.windows(n) {
            *counts.entry(run.to_vec()).or_default() += 1;
        }
        counts
    };
    let (found, wanted) = (counts(&text), counts(&reference));
    let shared = found
        .iter()
        .map(|(run, count)| count.min(wanted.get(run).unwrap_or(&0)));
    let runs = |tokens: &[String]| (tokens.len() + 1).saturating_sub(n);
    f1(shared.sum(), runs(&text), runs(&reference))
}

/// ROUGE-L: by the longest common subsequence.
pub fn l(text: &str, reference: &str) -> f64 {
    let (text, reference) = (tokens(text), tokens(reference));
    let mut row = vec![0; reference.len() + 1];
    for a in &text {
        let mut diagonal = 0;
        for (j, b) in reference.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = match a == b {
                true => diagonal + 1,
                false => above.max(row[j]),
            };
            diagonal = above;
        }
    }
    f1(row[reference.len()], text.len(), reference.len())
}

fn tokens(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let tokens = text.split(|c: char| !c.is_ascii_alphanumeric());
    let tokens = tokens.filter(|token| !token.is_empty());
    tokens.map(str::to_string).collect()
}

fn f1(shared: usize, found: usize, wanted: usize) -> f64 {
    match shared {
        0 => 0.,
        _ => 2. * shared as f64 / (found + wanted) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of `rouge_score` 0.1.2.
    #[test]
    fn scores_are_those_of_the_reference() {
        let text = "The old clock was wound by hand; the clock is quiet.";
        let reference = "Every week the old clock is wound by its keeper, by hand.";
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-4, "{a} {b}");
        near(n(1, text, reference), 0.6087);
        near(n(2, text, reference), 0.4762);
        near(l(text, reference), 0.5217);
        near(n(1, "", reference), 0.);
    }
}
