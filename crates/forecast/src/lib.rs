//! What will sell, at what price, and what is trending.
