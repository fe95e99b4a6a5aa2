//! Registers full of numbers, so that a loop over heads is written once for every width of them.

use half::f16;
use half::slice::HalfFloatSliceExt;

#[cfg(target_arch = "x86_64")]
use crate::engine::arch::simd::avx512_is_hidden;

/// The instructions that there are loops for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 F, and those of the next.
    Avx512,
    /// AVX2, FMA and F16C.
    Avx2,
    Plain,
}

impl Isa {
    /// The fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Plain];

    /// Whether this machine has them and they may be used.
    #[cfg(target_arch = "x86_64")]
    pub fn is_here(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        match self {
            Self::Avx512 => avx2 && is_x86_feature_detected!("avx512f") && !avx512_is_hidden(),
            Self::Avx2 => avx2,
            Self::Plain => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_here(self) -> bool {
        self == Self::Plain
    }

    pub fn best() -> Self {
        let mut here = Self::ALL.into_iter().filter(|isa| isa.is_here());
        here.next().unwrap_or(Self::Plain)
    }
}

/// A number as caches hold it.
pub trait Element: candle_core::WithDType {
    /// As many as `L` has room for, as f32.
    ///
    /// # Safety
    /// So many are there, and so are the instructions of `L`.
    unsafe fn load<L: Lanes>(from: *const Self) -> L;

    fn widen(from: &[Self], to: &mut [f32]);
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        // SAFETY: as this function's.
        unsafe { L::load(from) }
    }

    fn widen(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
}

impl Element for f16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L {
        // SAFETY: as this function's.
        unsafe { L::widen(from) }
    }

    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }
}

/// One register of f32.
///
/// # Safety
/// Its functions may be called where the instructions that they are made of are there, with pointers to [`Lanes::COUNT`] numbers.
pub trait Lanes: Copy {
    const COUNT: usize;
    /// Heads whose sums fit into the registers, four for each.
    const HEADS: usize;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn widen(from: *const f16) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self + a * b`
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// Of the numbers in each of four.
    unsafe fn sums(four: [Self; 4]) -> [f32; 4];
}

/// For every machine, and for heads of sizes that no register divides.
#[derive(Clone, Copy)]
pub struct Plain<const N: usize>([f32; N]);

impl<const N: usize> Lanes for Plain<N> {
    const COUNT: usize = N;
    const HEADS: usize = 1;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; N])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as the trait's; an array of numbers is aligned as one is.
        Self(unsafe { *from.cast() })
    }

    #[inline(always)]
    unsafe fn widen(from: *const f16) -> Self {
        // SAFETY: as the trait's.
        let from = unsafe { *from.cast::<[f16; N]>() };
        Self(from.map(f16::to_f32))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as the trait's.
        unsafe { *to.cast() = self.0 };
    }

    #[inline(always)]
    unsafe fn add_product(mut self, a: Self, b: Self) -> Self {
        for ((sum, a), b) in self.0.iter_mut().zip(a.0).zip(b.0) {
            *sum += a * b;
        }
        self
    }

    #[inline(always)]
    unsafe fn sums(four: [Self; 4]) -> [f32; 4] {
        four.map(|x| x.0.iter().sum())
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lanes, f16};

    /// AVX-512 F, and AVX2.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Lanes for Avx512 {
        const COUNT: usize = 16;
        const HEADS: usize = 4;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as the trait's, here and below.
            Self(unsafe { _mm512_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn widen(from: *const f16) -> Self {
            // SAFETY: see above.
            Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_ps(to, self.0) };
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn sums(four: [Self; 4]) -> [f32; 4] {
            // SAFETY: see above.
            unsafe {
                let quarters = add_across_512(four.map(|x| x.0));
                let halves = _mm256_add_ps(
                    _mm512_castps512_ps256(quarters),
                    _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(quarters))),
                );
                add_halves(halves)
            }
        }
    }

    /// In each quarter, the sums of the four numbers that each of the four has there.
    #[inline(always)]
    unsafe fn add_across_512([a, b, c, d]: [__m512; 4]) -> __m512 {
        // SAFETY: as the caller's.
        unsafe {
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            _mm512_add_ps(
                _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
            )
        }
    }

    #[inline(always)]
    unsafe fn add_halves(x: __m256) -> [f32; 4] {
        let mut sums = [0.; 4];
        // SAFETY: as the caller's.
        unsafe {
            let sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            _mm_storeu_ps(sums.as_mut_ptr(), sum);
        }
        sums
    }

    /// AVX2, FMA and F16C.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    impl Lanes for Avx2 {
        const COUNT: usize = 8;
        const HEADS: usize = 2;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as the trait's, here and below.
            Self(unsafe { _mm256_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn widen(from: *const f16) -> Self {
            // SAFETY: see above.
            Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm256_storeu_ps(to, self.0) };
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn sums(four: [Self; 4]) -> [f32; 4] {
            let [a, b, c, d] = four.map(|x| x.0);
            // SAFETY: see above.
            unsafe { add_halves(_mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d))) }
        }
    }
}
