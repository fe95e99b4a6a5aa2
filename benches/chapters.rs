//! Finding chapters: sentence embeddings, and where to cut.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use candle_core::Device;
use chapterize::chapters::decode::{Unit, segment};
use chapterize::chapters::embed::{Encode, MiniLm};
use chapterize::engine::arch::bert::Precision;
use chapterize::hub::Hub;
use chapterize::progress::Progress;
use chapterize::registry::{self, ENCODER};
use chapterize::transcript;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of an embedding.
const WIDTH: usize = 384;

/// Sentences whose vectors wander from topic to topic, the same every time.
fn units(count: usize) -> Vec<Unit> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut topic = Vec::new();
    let unit = |i: usize| {
        if i.is_multiple_of(25) {
            topic = (0..WIDTH).map(|_| rng.random::<f32>() - 0.5).collect();
        }
        let near = |x: &f32| x + rng.random::<f32>() - 0.5;
        Unit {
            vector: topic.iter().map(near).collect(),
            weight: rng.random_range(3..30) as f32,
            terms: (0..8).map(|_| rng.random_range(0..2000)).collect(),
            begins_turn: rng.random_bool(0.2),
            score: rng.random_range(-2.0..2.0),
        }
    };
    (0..count).map(unit).collect()
}

/// About ten minutes, an hour and four hours of speech, into 12 chapters.
fn segmentation(criterion: &mut Criterion) {
    chapterize::memory::keep_pages();
    let mut group = criterion.benchmark_group("segmentation");
    for count in [100, 600, 2400] {
        let units = units(count);
        group.throughput(Throughput::Elements(count as u64));
        let id = BenchmarkId::from_parameter(count);
        group.bench_with_input(id, &units, |bencher, units| {
            bencher.iter(|| segment(black_box(units), 12));
        });
    }
    group.finish();
}

/// All sentences of the example, or those of a file, with weights in 8 bits and as they are stored; only where the encoder
/// is on this disk.
fn embedding(criterion: &mut Criterion) {
    let sentences = match std::env::var_os("SENTENCES") {
        Some(path) => listed(path.as_ref()),
        None => example(),
    };
    let texts = sentences.iter().map(String::as_str).collect::<Vec<_>>();
    let mut group = criterion.benchmark_group("embedding");
    group.sample_size(10);
    group.throughput(Throughput::Elements(texts.len() as u64));
    for precision in [Precision::Eight, Precision::Full] {
        let Some(encoder) = encoder(precision) else {
            eprintln!(
                "embedding: left out, the encoder is not here; run 'chapterize models get {ENCODER}'"
            );
            return;
        };
        group.bench_function(format!("{precision:?}"), |bencher| {
            bencher.iter(|| {
                let embeddings = encoder.encode(black_box(&texts), &mut |_| {});
                embeddings.expect("embeddings")
            });
        });
    }
    group.finish();
}

fn example() -> Vec<String> {
    let text = include_bytes!("../examples/interview.txt");
    let mut interview = transcript::parse("interview.txt", text, None).expect("the example");
    transcript::clean(&mut interview);
    let sentences = transcript::sentences(&interview).into_iter();
    sentences.map(|sentence| sentence.text).collect()
}

/// Sentences of a file that holds one JSON string per line, as `scripts/bench_encoder.py` reads them.
fn listed(path: &Path) -> Vec<String> {
    let file = std::fs::read_to_string(path).expect("SENTENCES names a file");
    let lines = file
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON string"));
    lines.collect()
}

fn encoder(precision: Precision) -> Option<MiniLm> {
    let spec = registry::find(ENCODER).ok()?;
    let hub = Hub::from_env(true).ok()?;
    let files = hub.get(&spec.wanted().ok()?, Progress::hidden()).ok()?;
    MiniLm::load_as(&files.paths(), spec.window, precision, &Device::Cpu).ok()
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = segmentation, embedding
}
criterion_main!(benches);
