//! Convolution: over steps, where a step sees itself and those before it ([`Causal`]), and over the two sides of an image
//! ([`Conv2d`]).
//!
//! ```text
//! y_t = b + Σ_k W_k x_{t - (K - 1 - k) · dilation}                                            zero before the first step
//! y_{o,i,j} = b_o + Σ_{c,k,l} W_{o,c,k,l} x_{c, i · stride + k · dilation - padding, j · … }    zero beyond the edges
//! ```
//!
//! On the CPU each is one operation with a way back of its own: what the steps of some sequences, or the places of some
//! images, see is laid side by side, and one product does them all. Elsewhere they are burn's.

mod causal;
mod op;
mod pass;
mod plane;
#[cfg(test)]
mod tests;

pub use causal::Causal;
pub use plane::{Conv2d, Conv2dParams};
