//! Of what holds, the sentences that make the best summary together.

use super::{Answer, Held, Rules, SENTENCES, alike, keep};
use crate::chapters::embed::cosine;
use crate::chunk::Passage;
use crate::words::points_back;

/// A second sentence that holds is worth more than a slightly better single one.
const SECOND: f32 = 0.1;
/// A second sentence is worth less by this part of its likeness to the first: two that tell of different things say more.
const VARIETY: f32 = 0.4;
/// A summary of fewer words says less than a quote.
const LEAST_WORDS: usize = 12;

/// The best of what several answers say: of each, the sentences that hold; of those, the answer that says most, filled up from
/// the others. What is not likely to be good comes only where too little else holds. `None` where nothing holds, or next to nothing.
pub fn choose(passage: &Passage, answers: &[Answer], rules: Rules) -> Option<Vec<Held>> {
    let kept = answers.iter().map(|answer| keep(passage, answer, rules));
    let kept = kept.collect::<Vec<_>>();
    let mut good = kept.clone();
    for held in &mut good {
        held.retain(Held::likely_good);
    }
    best(good).or_else(|| best(kept))
}

fn best(mut kept: Vec<Vec<Held>>) -> Option<Vec<Held>> {
    kept.retain(|held| !held.is_empty());
    let best = (0..kept.len()).max_by(|&a, &b| worth(&kept[a]).total_cmp(&worth(&kept[b])))?;
    let mut best = kept.swap_remove(best);
    let mut others = kept.into_iter().flatten().collect::<Vec<_>>();
    others.retain(|held| !points_back(&held.claim.text));
    while best.len() < SENTENCES {
        others.retain(|held| best.iter().all(|other| is_another(held, other)));
        let value = |held: &Held| held.worth - VARIETY * likeness(held, &best);
        let Some(next) =
            (0..others.len()).max_by(|&a, &b| value(&others[a]).total_cmp(&value(&others[b])))
        else {
            break;
        };
        best.push(others.swap_remove(next));
    }
    if !best.iter().any(|held| points_back(&held.claim.text)) {
        best.sort_by_key(|held| held.evidence.start);
    }
    let words = |held: &Held| held.claim.text.split_whitespace().count();
    let told = best.iter().map(words).sum::<usize>();
    (told >= LEAST_WORDS).then_some(best)
}

fn worth(held: &[Held]) -> f32 {
    let mean = held.iter().map(|held| held.worth).sum::<f32>() / held.len().max(1) as f32;
    mean + SECOND * held.len().saturating_sub(1) as f32
}

fn likeness(held: &Held, others: &[Held]) -> f32 {
    let alike = others
        .iter()
        .map(|other| cosine(&held.claim.embedding, &other.claim.embedding));
    alike.fold(0., f32::max)
}

/// Whether two claims tell of different things: other words, and other sentences that carry them.
fn is_another(a: &Held, b: &Held) -> bool {
    let apart = a.evidence.end <= b.evidence.start || b.evidence.end <= a.evidence.start;
    apart && !alike(&a.claim, &b.claim)
}
