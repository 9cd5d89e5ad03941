//! What a text says: words of Chinese and English titles.
