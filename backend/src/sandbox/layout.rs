//! Where things are: every name, address and uid of a deployment, derived from two settings and
//! the slot. Pure. `infra/firewall/walls.sh` derives the bridge and the table by the same formulas;
//! they are part of the contract between the two.
//!
//! | what | formula |
//! |---|---|
//! | tag | first 8 hex digits of SHA-256 of the deployment's name |
//! | bridge and Docker network | `ck-<tag>` (11 of the 15 characters an interface may have) |
//! | nftables table | `inet clawkaka_<deployment>` |
//! | bridge's own address | subnet + 1 |
//! | probes of the walls | subnet + 2 and + 3 |
//! | sandbox in slot N | address subnet + 256 + N, uid `SANDBOX_UID_BASE` + N |

use std::net::{Ipv4Addr, SocketAddr};

use sha2::{Digest, Sha256};

use crate::id::SandboxId;

/// The gateway's port inside every sandbox, as the image's configuration template says.
pub const GATEWAY_PORT: u16 = 18_789;
/// Slots begin behind the first 256 addresses: those are the bridge's, the probes' and whatever
/// Docker hands out by itself.
const FIRST_SLOT_OFFSET: u32 = 256;

/// Names and addresses of one deployment.
#[derive(Clone, Debug)]
pub struct Layout {
    pub deployment: String,
    /// First address of the /16.
    pub subnet: Ipv4Addr,
    pub uid_base: u32,
    pub broker_port: u16,
    tag: String,
}

impl Layout {
    pub fn new(deployment: &str, subnet: Ipv4Addr, uid_base: u32, broker_port: u16) -> Self {
        let digest = hex::encode(Sha256::digest(deployment));
        Self {
            deployment: deployment.to_owned(),
            subnet,
            uid_base,
            broker_port,
            tag: digest[..8].to_owned(),
        }
    }

    /// Name of the bridge interface and of the Docker network.
    pub fn bridge(&self) -> String {
        format!("ck-{}", self.tag)
    }

    pub fn table(&self) -> String {
        format!("clawkaka_{}", self.deployment)
    }

    pub fn bridge_address(&self) -> Ipv4Addr {
        self.offset(1)
    }

    /// The probe's two ends: one listens, one tries everything.
    pub fn probe_addresses(&self) -> [Ipv4Addr; 2] {
        [self.offset(2), self.offset(3)]
    }

    pub fn address(&self, slot: i32) -> Ipv4Addr {
        self.offset(FIRST_SLOT_OFFSET + slot.unsigned_abs())
    }

    pub fn gateway(&self, slot: i32) -> SocketAddr {
        (self.address(slot), GATEWAY_PORT).into()
    }

    /// Of the sandbox at this address.
    pub fn uid_at(&self, address: Ipv4Addr) -> Option<u32> {
        let offset = u32::from(address).checked_sub(u32::from(self.offset(FIRST_SLOT_OFFSET)))?;
        Some(self.uid_base + offset)
    }

    /// inotify and pipe limits are per uid, so that no two sandboxes may share one.
    pub fn uid(&self, slot: i32) -> u32 {
        self.uid_base + slot.unsigned_abs()
    }

    /// Name of container, volume and host. Says nothing about whose it is, and cannot be guessed
    /// by a neighbour: Docker's resolver answers for names on the same network. A re-created
    /// gateway must find its old host name, or it waits five minutes for its predecessor's lease.
    pub fn name(&self, sandbox: SandboxId) -> String {
        format!("{}-{}", self.bridge(), sandbox.0.simple())
    }

    pub fn broker_url(&self) -> String {
        format!("http://{}:{}", self.bridge_address(), self.broker_port)
    }

    fn offset(&self, by: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet) + by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new("clawkaka", Ipv4Addr::new(10, 77, 0, 0), 200_000, 3005)
    }

    #[test]
    fn every_slot_has_an_address_of_its_own_inside_the_subnet() {
        assert_eq!(layout().address(1), Ipv4Addr::new(10, 77, 1, 1));
        assert_eq!(layout().address(65_000), Ipv4Addr::new(10, 77, 254, 232));
        assert_eq!(layout().bridge_address(), Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(layout().uid(7), 200_007);
        assert_eq!(layout().uid_at(layout().address(7)), Some(200_007));
    }

    #[test]
    fn the_bridge_is_named_by_the_formula_of_walls_sh() {
        assert_eq!(layout().bridge(), "ck-80edb2f1");
        assert_eq!(layout().table(), "clawkaka_clawkaka");
    }
}
