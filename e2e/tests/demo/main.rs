//! The demonstration page in a real browser: by a person who uses it, not by its code.
//!
//! `page.rs` plays the product's side of the wire itself, `product.rs` tells the whole story with
//! the real product and the real OpenClaw. Needs Debian's chromium and chromium-driver. With
//! `CLAWKAKA_SCREENSHOTS=<folder>` the second also takes pictures of what it sees.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it is"
)]

mod browser;
mod door;
mod page;
mod phone;
mod product;
#[path = "../simulators/product.rs"]
mod stub;

use std::time::Duration;

/// Nothing here takes long; whatever takes this long hangs.
const SOON: Duration = Duration::from_secs(60);
