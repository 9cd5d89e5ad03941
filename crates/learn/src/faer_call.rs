//! The one door to `faer`, which leaves the processor as it found it.
//!
//! faer's matrix product (private-gemm-x86 0.1) is assembly that ends without `vzeroupper`. The upper halves of the
//! vector registers then stay in use on that thread, and on many Intel processors every later SSE instruction (which
//! is what Rust makes by default) waits for them: a plain loop after one product was measured 10 times slower, for as
//! long as the thread lives. The instruction costs nothing beside any product.

/// Does `work`, which calls faer, and clears the upper halves of the vector registers behind it.
///
/// ```
/// use faer::Mat;
/// let a = Mat::from_fn(3, 3, |i, j| (i + j) as f64);
/// let product = tradewind_learn::faer_call::faer_call(|| &a * &a);
/// assert_eq!(product[(0, 0)], 5.0);
/// ```
pub fn faer_call<T>(work: impl FnOnce() -> T) -> T {
    let out = work();
    clear_upper_halves();
    out
}

#[cfg(target_arch = "x86_64")]
fn clear_upper_halves() {
    #[target_feature(enable = "avx")]
    fn clear() {
        std::arch::x86_64::_mm256_zeroupper();
    }
    if std::arch::is_x86_feature_detected!("avx") {
        #[expect(unsafe_code, reason = "the instruction needs AVX, which the line above has found")]
        // SAFETY: the processor has AVX. The instruction touches only the upper halves, which no code of the
        // caller may rely on across a call.
        unsafe {
            clear();
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn clear_upper_halves() {}
