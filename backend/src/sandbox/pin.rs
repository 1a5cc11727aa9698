//! Which image each sandbox runs. Written down once, by id, when a sandbox is first seen: another
//! `SANDBOX_IMAGE`, or the same name for another image, is for new people only. Whoever is there
//! stays with theirs until an upgrade moves them (`worker/upgrade`), with a way back.

use std::collections::HashMap;

use super::{
    Sandboxes,
    row::{
        Intent, Row,
        image::{self, Pin},
    },
    runtime::Container,
};
use crate::id::SandboxId;

impl Sandboxes {
    /// Before the first pass: also those who sleep, and whom no pass sees.
    pub async fn pin_all(&self) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        let containers = parts.runtime.containers().await?;
        let pins = containers.iter().map(|one| Pin {
            sandbox: one.sandbox,
            old: None,
            new: one.image.clone(),
        });
        let pins: Vec<_> = pins.filter(|pin| !pin.new.is_empty()).collect();
        image::pin(&parts.pool, &pins).await?;
        let Some(current) = parts.runtime.image(&parts.image).await? else {
            return Ok(());
        };
        let awake: Vec<_> = containers.iter().map(|one| one.sandbox).collect();
        image::pin_sleeping(&parts.pool, &awake, &current).await?;
        Ok(())
    }

    /// Those of a pass. An image that is not on the machine any more cannot be started: what sleeps
    /// and has lost its own gets the current one, rather than never waking again.
    pub(super) async fn pin(
        &self,
        rows: &mut HashMap<SandboxId, Row>,
        own: &HashMap<SandboxId, Container>,
        images: &HashMap<String, String>,
    ) {
        let parts = &self.0.parts;
        let current = images.get(&parts.image);
        let mut pins = Vec::new();
        for row in rows.values().filter(|row| row.intent != Intent::Gone) {
            let runs = own.get(&row.id).map(|container| &container.image);
            let new = match (&row.image, runs) {
                (None, runs) => runs.filter(|image| !image.is_empty()).or(current),
                (Some(image), None) if !images.contains_key(image) => current,
                _ => None,
            };
            let Some(new) = new.filter(|new| row.image.as_ref() != Some(new)) else {
                continue;
            };
            if row.image.is_some() {
                tracing::warn!(sandbox.id = %row.id, "a sandbox's image is not on this machine any more: it gets the current one");
                metrics::counter!("clawkaka_sandbox_images_lost_total").increment(1);
            }
            pins.push(Pin {
                sandbox: row.id,
                old: row.image.clone(),
                new: new.clone(),
            });
        }
        if pins.is_empty() {
            return;
        }
        // What is to be done now must not wait for that: the next pass writes it down.
        if let Err(error) = image::pin(&parts.pool, &pins).await {
            tracing::warn!("failed to {error:#}");
        }
        for pin in pins {
            if let Some(row) = rows.get_mut(&pin.sandbox) {
                row.image = Some(pin.new);
            }
        }
    }
}
