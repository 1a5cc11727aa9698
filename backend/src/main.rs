//! Starts the product.
fn main() {}
