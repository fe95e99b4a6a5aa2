//! The kernels against the product with dequantised weights and activations, in plain f32.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::*;

const TYPES: [GgmlDType; 10] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

fn random(shape: (usize, usize)) -> Tensor {
    Tensor::randn(0f32, 1., shape, &Device::Cpu).unwrap()
}

fn plain(weight: &QTensor, x: &Tensor) -> Vec<f32> {
    let input = weight.shape().dims()[1];
    let values = x.flatten_all().unwrap().to_vec1().unwrap();
    let activations = Activations::quantize(&values, input);
    let rows = values.len() / input;
    let x = (0..rows).flat_map(|row| {
        let (first, step) = activations.place(row);
        let places = (0..input / BLOCK).map(move |b| first + b * step);
        places.flat_map(|i| {
            let codes = &activations.codes[i * BLOCK..][..BLOCK];
            let scale = activations.blocks[i].scale;
            codes.iter().map(move |code| f32::from(*code) * scale)
        })
    });
    let x = x.collect::<Vec<_>>();
    for (x, value) in x.iter().zip(&values) {
        assert!((x - value).abs() < 0.02, "{value} became {x}");
    }
    let x = Tensor::from_vec(x, (rows, input), &Device::Cpu).unwrap();
    let w = weight.dequantize(&Device::Cpu).unwrap();
    let y = x.matmul(&w.t().unwrap()).unwrap();
    y.flatten_all().unwrap().to_vec1().unwrap()
}

/// Every way the weight can be multiplied on this machine.
fn packed(weight: &QTensor) -> Vec<PackedWeight> {
    let bytes = weight.data().unwrap();
    let stored = Stored {
        dtype: weight.dtype(),
        shape: weight.shape().dims2().unwrap(),
        bytes: &bytes,
        order: None,
    };
    packed_rows(&stored)
}

fn packed_rows(stored: &Stored) -> Vec<PackedWeight> {
    let ways = match Isa::here() {
        Some(Isa::Avx512Vnni) => vec![Isa::Avx512Vnni, Isa::Avx2],
        Some(Isa::Avx2) => vec![Isa::Avx2],
        None => vec![],
    };
    let pack = |isa| pack::pack(stored, isa).expect("it is packed");
    ways.into_iter().map(pack).collect()
}

#[test]
fn every_type_equals_the_plain_product() {
    for dtype in TYPES {
        for (out, input, rows) in [(16, 256, 1), (48, 768, 7), (192, 256, 45)] {
            let weight = QTensor::quantize(&random((out, input)), dtype).unwrap();
            let x = random((rows, input));
            let reference = plain(&weight, &x);
            let largest = reference.iter().fold(0f32, |m, x| m.max(x.abs()));
            for way in packed(&weight) {
                let y = way.forward(&x).unwrap();
                assert_eq!(y.dims(), [rows, out]);
                let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for (ours, reference) in y.iter().zip(&reference) {
                    let near = (ours - reference).abs() < 1e-5 * largest;
                    let isa = way.isa;
                    assert!(
                        near,
                        "{dtype:?} {isa:?} {out}x{input}: {ours} and {reference}"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_are_those_of_the_weight_in_the_order_that_is_asked_for() {
    let order = (0..32).map(|row| (row * 7 + 3) % 48).collect::<Vec<_>>();
    for dtype in TYPES {
        let weight = QTensor::quantize(&random((48, 512)), dtype).unwrap();
        let plain = weight.dequantize(&Device::Cpu).unwrap();
        let plain = plain.to_vec2::<f32>().unwrap();
        let stored = Stored {
            dtype,
            shape: (48, 512),
            bytes: &weight.data().unwrap(),
            order: Some(&order),
        };
        for way in packed_rows(&stored) {
            let rows = way.rows(&[0, 31, 5]).unwrap().to_vec2::<f32>().unwrap();
            for (row, place) in rows.iter().zip([0, 31, 5]) {
                for (ours, reference) in row.iter().zip(&plain[order[place]]) {
                    assert!(
                        (ours - reference).abs() < 1e-5,
                        "{dtype:?}: {ours} {reference}"
                    );
                }
            }
            assert!(way.rows(&[32]).is_err());
        }
    }
}

#[test]
fn widths_of_32_are_packed_where_the_type_has_them() {
    for dtype in &TYPES[..5] {
        let weight = QTensor::quantize(&random((32, 96)), *dtype).unwrap();
        let x = random((3, 96));
        for way in packed(&weight) {
            let y = way.forward(&x).unwrap().flatten_all().unwrap();
            for (ours, reference) in y.to_vec1::<f32>().unwrap().iter().zip(plain(&weight, &x)) {
                assert!(
                    (ours - reference).abs() < 1e-4,
                    "{dtype:?}: {ours} {reference}"
                );
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    for dtype in [GgmlDType::Q4_1, GgmlDType::Q8_0] {
        let weight = QTensor::quantize(&random((64, 576)), dtype).unwrap();
        let x = random((23, 576));
        for way in packed(&weight) {
            let all = way.forward(&x).unwrap().to_vec2::<f32>().unwrap();
            for (i, row) in all.iter().enumerate() {
                let alone = way.forward(&x.narrow(0, i, 1).unwrap()).unwrap();
                assert_eq!(&alone.to_vec2::<f32>().unwrap()[0], row);
            }
        }
    }
}

#[test]
fn scales_far_from_1_keep_their_precision() {
    for size in [1e-6, 1e5] {
        let w = (random((16, 256)) * size).unwrap();
        let weight = QTensor::quantize(&w, GgmlDType::Q4K).unwrap();
        let x = random((2, 256));
        let reference = plain(&weight, &x);
        let largest = reference.iter().fold(0f32, |m, x| m.max(x.abs()));
        for way in packed(&weight) {
            let y = way.forward(&x).unwrap().flatten_all().unwrap();
            for (ours, reference) in y.to_vec1::<f32>().unwrap().iter().zip(&reference) {
                assert!(
                    (ours - reference).abs() < 1e-5 * largest,
                    "{ours} {reference}"
                );
            }
        }
    }
}

#[test]
fn floats_and_odd_shapes_are_left_to_the_general_path() {
    for (dtype, shape) in [
        (GgmlDType::Q4_1, (7, 32)),
        (GgmlDType::F32, (16, 32)),
        (GgmlDType::F16, (16, 32)),
    ] {
        let weight = QTensor::quantize(&random(shape), dtype).unwrap();
        let stored = Stored {
            dtype,
            shape,
            bytes: &weight.data().unwrap(),
            order: None,
        };
        assert!(PackedWeight::new(&stored).is_none());
    }
}
