//! What a text says. For now: the words of product titles, Chinese and English.
//!
//! ```
//! use tradewind_text::TitleWords;
//! let words = TitleWords::new();
//! assert_eq!(words.of("Red Retro-Spot CAKE stand, 3 tiers"), ["red", "retro-spot", "cake", "stand", "tiers"]);
//! assert!(words.of("夏季薄款防晒衣 女").contains(&"防晒衣".to_string()));
//! ```
//!
//! It reads no file: the dictionary is compiled in.

pub mod words;

pub use words::TitleWords;
