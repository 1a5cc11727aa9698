//! Rebuilds when a migration is added, so that the embedded set is never stale.
fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
