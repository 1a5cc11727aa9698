//! The complete specification of a sandbox's container, from a slot and the settings. Pure.
//!
//! Whatever runs inside is assumed hostile: it gets no capability, no privilege, no writable root,
//! no device, no port, no bind mount, no IPv6, few system calls, and limits on everything that can
//! be limited. The hash of the specification is a label, so that an outdated container is seen.

use std::collections::HashMap;

use anyhow::Context;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig,
    Mount, MountType, NetworkingConfig, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use sha2::{Digest, Sha256};

use super::layout::Layout;
use crate::id::SandboxId;

pub const DEPLOYMENT_LABEL: &str = "clawkaka.deployment";
pub const SANDBOX_LABEL: &str = "clawkaka.sandbox";
pub const PROBE_LABEL: &str = "clawkaka.probe";
pub const DISKS_LABEL: &str = "clawkaka.disks";
pub const SLOT_LABEL: &str = "clawkaka.slot";
pub const SPEC_LABEL: &str = "clawkaka.spec";

/// Where the image keeps everything that outlives a container.
pub const STATE_DIR: &str = "/state";

/// See the file: an allow list, so that a new system call is closed until somebody opens it.
pub const SECCOMP: &str = include_str!("seccomp.json");
/// OpenClaw runs in about 15 threads; the rest is for what its agent starts. Stops fork bombs.
const MAX_PIDS: i64 = 512;
/// Of the sandbox's uid, which no other has, and a little less: at this wall the kernel looks before it
/// copies a process, at the other one after, so that a fork bomb that goes on trying costs others less.
const MAX_TASKS: i64 = 480;
/// Node opens some hundred files at boot. The per-uid kernel limits are the next wall.
const MAX_OPEN_FILES: i64 = 16_384;
/// It counts as memory of the sandbox. `exec`, or Docker adds `noexec` and agents' scripts fail.
const TMPFS: &str = "rw,exec,nosuid,nodev,size=256m,mode=1777";
/// When the machine runs out of memory, a sandbox dies before Postgres or we do.
const OOM_SCORE: i64 = 500;
/// Docker forwards names it does not know to this resolver, out of the container's own network:
/// nobody listens there, so that no name leaves, also not on engines that forward the host's
/// loopback resolver from internal networks (CVE-2024-29018).
const RESOLVER: &str = "127.0.0.1";

/// What differs between deployments, and not between their sandboxes.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Bytes; there is no swap on top.
    pub memory: i64,
    pub cpus: f64,
    /// A stronger OCI runtime, as Docker knows it by name.
    pub runtime: Option<String>,
}

/// A container to create, and the volume it needs.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Of the container and of its volume.
    pub name: String,
    pub sandbox: SandboxId,
    pub hash: String,
    pub body: ContainerCreateBody,
}

/// The container of this sandbox, complete. `image` is an id, so that a moved tag shows.
pub fn spec(
    layout: &Layout,
    shape: &Shape,
    sandbox: SandboxId,
    slot: i32,
    image: &str,
) -> anyhow::Result<Spec> {
    let name = layout.name(sandbox);
    let uid = layout.uid(slot);
    let mut body = hardened(layout, shape, uid, layout.address(slot), image);
    body.hostname = Some(name.clone());
    if let Some(host) = &mut body.host_config {
        host.mounts = Some(vec![Mount {
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            target: Some(STATE_DIR.to_owned()),
            read_only: Some(false),
            ..Default::default()
        }]);
    }
    let mut labels = HashMap::from([
        (DEPLOYMENT_LABEL.to_owned(), layout.deployment.clone()),
        (SANDBOX_LABEL.to_owned(), sandbox.to_string()),
        (SLOT_LABEL.to_owned(), slot.to_string()),
    ]);
    body.labels = Some(labels.clone());
    let hash = hash(&body)?;
    labels.insert(SPEC_LABEL.to_owned(), hash.clone());
    body.labels = Some(labels);
    Ok(Spec {
        name,
        sandbox,
        hash,
        body,
    })
}

/// What sandboxes and the probes of their walls have in common: everything that confines.
pub fn hardened(
    layout: &Layout,
    shape: &Shape,
    uid: u32,
    address: std::net::Ipv4Addr,
    image: &str,
) -> ContainerCreateBody {
    let ulimit = |name: &str, limit| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(limit),
        hard: Some(limit),
    };
    let host = HostConfig {
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec![
            "no-new-privileges".to_owned(),
            format!("seccomp={SECCOMP}"),
        ]),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), TMPFS.to_owned())])),
        pids_limit: Some(MAX_PIDS),
        memory: Some(shape.memory),
        memory_swap: Some(shape.memory),
        nano_cpus: Some((shape.cpus * 1e9) as i64),
        oom_score_adj: Some(OOM_SCORE),
        ulimits: Some(vec![
            ulimit("core", 0),
            ulimit("nofile", MAX_OPEN_FILES),
            ulimit("nproc", MAX_TASKS),
        ]),
        init: Some(true),
        ipc_mode: Some("private".to_owned()),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "10m".to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
                // A flood of lines loses some, and has Docker work a third as much for it (measured):
                // that work is done outside of any sandbox's share of the cores.
                ("mode".to_owned(), "non-blocking".to_owned()),
            ])),
        }),
        sysctls: Some(HashMap::from([(
            "net.ipv6.conf.all.disable_ipv6".to_owned(),
            "1".to_owned(),
        )])),
        dns: Some(vec![RESOLVER.to_owned()]),
        // We start it, after the walls stand; Docker would start it at boot, before them.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        network_mode: Some(layout.bridge()),
        runtime: shape.runtime.clone(),
        ..Default::default()
    };
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(address.to_string()),
            ..Default::default()
        }),
        ..Default::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        user: Some(format!("{uid}:{uid}")),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(layout.bridge(), endpoint)])),
        }),
        ..Default::default()
    }
}

/// 16 hex digits over the body. As a [`serde_json::Value`] its keys are in order, so that maps of
/// the same content hash the same.
fn hash(body: &ContainerCreateBody) -> anyhow::Result<String> {
    let body = serde_json::to_value(body).context("hash a container's specification")?;
    let digest = hex::encode(Sha256::digest(body.to_string()));
    Ok(digest[..16].to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::Value;

    use super::*;

    fn example(image: &str) -> Spec {
        let layout = Layout::new("clawkaka", Ipv4Addr::new(10, 77, 0, 0), 200_000, 3005);
        let shape = Shape {
            memory: 2 << 30,
            cpus: 1.5,
            runtime: Some("runsc".to_owned()),
        };
        let id = SandboxId(uuid::Uuid::from_u128(7));
        spec(&layout, &shape, id, 1, image).unwrap()
    }

    #[test]
    fn the_whole_body_is_as_we_decided() {
        let mut body = example("sha256:abc").body;
        let options = body.host_config.as_mut().unwrap().security_opt.as_mut();
        let seccomp = options.unwrap().pop().unwrap();
        assert_eq!(seccomp, format!("seccomp={SECCOMP}"));
        let value = serde_json::to_value(body).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap(), @r#"
        {
          "HostConfig": {
            "CapDrop": [
              "ALL"
            ],
            "Dns": [
              "127.0.0.1"
            ],
            "Init": true,
            "IpcMode": "private",
            "LogConfig": {
              "Config": {
                "max-file": "2",
                "max-size": "10m",
                "mode": "non-blocking"
              },
              "Type": "json-file"
            },
            "Memory": 2147483648,
            "MemorySwap": 2147483648,
            "Mounts": [
              {
                "ReadOnly": false,
                "Source": "ck-80edb2f1-00000000000000000000000000000007",
                "Target": "/state",
                "Type": "volume"
              }
            ],
            "NanoCpus": 1500000000,
            "NetworkMode": "ck-80edb2f1",
            "OomScoreAdj": 500,
            "PidsLimit": 512,
            "ReadonlyRootfs": true,
            "RestartPolicy": {
              "Name": "no"
            },
            "Runtime": "runsc",
            "SecurityOpt": [
              "no-new-privileges"
            ],
            "Sysctls": {
              "net.ipv6.conf.all.disable_ipv6": "1"
            },
            "Tmpfs": {
              "/tmp": "rw,exec,nosuid,nodev,size=256m,mode=1777"
            },
            "Ulimits": [
              {
                "Hard": 0,
                "Name": "core",
                "Soft": 0
              },
              {
                "Hard": 16384,
                "Name": "nofile",
                "Soft": 16384
              },
              {
                "Hard": 480,
                "Name": "nproc",
                "Soft": 480
              }
            ]
          },
          "Hostname": "ck-80edb2f1-00000000000000000000000000000007",
          "Image": "sha256:abc",
          "Labels": {
            "clawkaka.deployment": "clawkaka",
            "clawkaka.sandbox": "00000000-0000-0000-0000-000000000007",
            "clawkaka.slot": "1",
            "clawkaka.spec": "df2b5a766a068c28"
          },
          "NetworkingConfig": {
            "EndpointsConfig": {
              "ck-80edb2f1": {
                "IPAMConfig": {
                  "IPv4Address": "10.77.1.1"
                }
              }
            }
          },
          "User": "200001:200001"
        }
        "#);
    }

    #[test]
    fn another_image_is_another_specification_and_the_same_is_the_same() {
        assert_eq!(example("sha256:abc").hash, example("sha256:abc").hash);
        assert_ne!(example("sha256:abc").hash, example("sha256:abd").hash);
    }

    #[test]
    fn system_calls_that_have_broken_containers_are_not_on_the_list() {
        let profile: Value = serde_json::from_str(SECCOMP).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let allowed = profile["syscalls"].to_string();
        for name in [
            "io_uring_setup",
            "io_uring_enter",
            "bpf",
            "ptrace",
            "unshare",
            "mount",
        ] {
            assert!(!allowed.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
