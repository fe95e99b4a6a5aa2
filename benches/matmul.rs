//! Products of quantised weights with f32 activations, through the engine's own [`Linear`], in the shapes of the feed-forward
//! layers of SmolLM2-135M (576 and 1536 wide) and Qwen3-0.6B (1024 and 3072 wide).
//!
//! One row is a step of one sequence, 12 a step of all chapters at once, 128 and 512 are prompts. "Elements" are floating
//! point operations, two for each weight and row: Gelem/s is GFLOP/s.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use chapterize::engine::arch::layers::Linear;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TYPES: [GgmlDType; 4] = [
    GgmlDType::Q4_1,
    GgmlDType::Q8_0,
    GgmlDType::Q4K,
    GgmlDType::Q6K,
];

/// Name, outputs and inputs of a layer.
const SHAPES: [(&str, usize, usize); 4] = [
    ("smollm2-135m up", 1536, 576),
    ("smollm2-135m down", 576, 1536),
    ("qwen3-0.6b up", 3072, 1024),
    ("qwen3-0.6b down", 1024, 3072),
];

const ROWS: [usize; 4] = [1, 12, 128, 512];

fn random(rows: usize, columns: usize) -> Tensor {
    Tensor::randn(0f32, 1., (rows, columns), &Device::Cpu).expect("room for a tensor")
}

fn matmul(criterion: &mut Criterion) {
    chapterize::memory::keep_pages();
    for (name, out, input) in SHAPES {
        let mut group = criterion.benchmark_group(name);
        for dtype in TYPES {
            // Blocks of 256 do not fit a width of 576: files have other types there.
            if input % dtype.block_size() != 0 {
                continue;
            }
            let weight = QTensor::quantize(&random(out, input), dtype).expect("whole blocks");
            let linear = Linear::new(Arc::new(weight), None).expect("a layer");
            for rows in ROWS {
                let x = random(rows, input);
                group.throughput(Throughput::Elements((2 * rows * input * out) as u64));
                let id = BenchmarkId::new(format!("{dtype:?}"), rows);
                group.bench_with_input(id, &x, |bencher, x| {
                    bencher.iter(|| linear.forward(black_box(x)).expect("a product"));
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = matmul
}
criterion_main!(benches);
