//! What is between the products: attention, norms, and the choice of the next token.
//!
//! Shapes are those of SmolLM2-135M (9 heads over 3 of keys and values, 64 wide, hidden size 576, 49,152 tokens) and
//! Qwen3-0.6B (16 over 8, 128 wide, hidden size 1024, 151,936 tokens).

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Tensor};
use chapterize::engine::arch::attention::{Mask, Scores, attend_rows, attention};
use chapterize::engine::arch::layers::{LayerNorm, RmsNorm};
use chapterize::engine::rules::Rules;
use chapterize::engine::sampler::{Sampler, Sampling};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Name, heads, heads of keys and values, head size, hidden size, tokens of the vocabulary.
const MODELS: [(&str, usize, usize, usize, usize, usize); 2] = [
    ("smollm2-135m", 9, 3, 64, 576, 49_152),
    ("qwen3-0.6b", 16, 8, 128, 1024, 151_936),
];

/// Tokens of a prompt, and of every cache that rows are decoded over.
const LENGTH: usize = 512;

fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::randn(0f32, 1., shape, &Device::Cpu).expect("room for a tensor")
}

fn prefill(criterion: &mut Criterion) {
    chapterize::memory::keep_pages();
    let mut group = criterion.benchmark_group("attention, prefill 512");
    group.throughput(Throughput::Elements(LENGTH as u64));
    for (name, heads, kv_heads, d, ..) in MODELS {
        let q = random((LENGTH, heads, d));
        let (k, v) = (random((kv_heads, LENGTH, d)), random((kv_heads, LENGTH, d)));
        let scores = Scores {
            scale: 1. / (d as f32).sqrt(),
            mask: Mask::Causal,
            bias: None,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| attention(black_box(&q), &k, &v, scores).expect("attention"));
        });
    }
    group.finish();
}

/// One new token in each of some rows, over caches of 512.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention, decode over 512");
    for (name, heads, kv_heads, d, ..) in MODELS {
        for rows in [1, 12, 48] {
            let q = random((rows, heads, d));
            let cache = |_| {
                let kept = || random((kv_heads, LENGTH, d));
                (kept(), kept())
            };
            let caches = (0..rows).map(cache).collect::<Vec<_>>();
            let scale = 1. / (d as f32).sqrt();
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                bencher.iter(|| attend_rows(black_box(&q), &caches, scale).expect("attention"));
            });
        }
    }
    group.finish();
}

fn norms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("norms");
    for (name, _, _, _, hidden, _) in MODELS {
        let rms = RmsNorm::new(random(hidden), 1e-5);
        let layer = LayerNorm::new(random(hidden), random(hidden), 1e-5);
        for rows in [12, LENGTH] {
            let x = random((rows, hidden));
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new(format!("rms, {name}"), rows), |bencher| {
                bencher.iter(|| rms.forward(black_box(&x)).expect("a norm"));
            });
            let id = BenchmarkId::new(format!("layer, {name}"), rows);
            group.bench_function(id, |bencher| {
                bencher.iter(|| layer.forward(black_box(&x)).expect("a norm"));
            });
        }
    }
    group.finish();
}

/// Logits to one token, after 32 written behind a prompt of 512; the copy of the logits is not timed.
fn sampling(criterion: &mut Criterion) {
    let drawn = Sampling {
        temperature: 0.3,
        top_p: 0.9,
        repetition_penalty: 1.1,
        no_repeat_ngram: 4,
        copy_bias: 1.,
        seed: 0,
        refusal: None,
    };
    let mut group = criterion.benchmark_group("sampling");
    for (name, .., vocab) in MODELS {
        let logits = random(vocab).to_vec1::<f32>().expect("logits");
        let prompt = (0..LENGTH as u32).collect::<Vec<_>>();
        let written = (1000..1032).collect::<Vec<_>>();
        for (kind, sampling) in [("greedy", Sampling::greedy()), ("drawn", drawn)] {
            let mut sampler = Sampler::new(sampling, &prompt, Rules::default(), 64);
            group.bench_function(BenchmarkId::new(kind, name), |bencher| {
                bencher.iter_batched_ref(
                    || logits.clone(),
                    |logits| sampler.next(black_box(logits), &written),
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = prefill, decode, norms, sampling
}
criterion_main!(benches);
