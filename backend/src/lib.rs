//! The whole product.

pub mod whatsapp;
