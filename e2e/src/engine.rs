//! A machine of its own for a story that hurts what all deployments of a real one share: the Docker
//! engine, or everything at once.
//!
//! [`apart`] runs a test once more, in a process with networks and mounts of its own. There product,
//! Postgres and simulators meet as usual, and neither the machine's own engine nor another story
//! notices anything. [`Engine`] is a real `dockerd` with its `containerd`. Their processes, mounts
//! and `/run` are those of one process namespace, which ends with us, however we end.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    PATIENCE,
    command::{self, try_now},
    place,
};

/// Set in a process that has a machine of its own: the Docker engine that the image is taken from.
const APART: &str = "CLAWKAKA_TEST_APART";
const USUAL_ENGINE: &str = "unix:///var/run/docker.sock";
/// On a disk on every machine, and kept small by nobody.
const BELOW: &str = "/var/tmp";
/// What Docker has mounted is not held: it would stay when Docker lets go of it. And what `/sys`
/// says of networks, it says of those of whoever mounted it.
const MACHINE: &str = r#"
set -e
folder=$0-$$-engine
mkdir -p "$folder/sys"
while read -r _ _ _ _ target _; do
  case $target in /var/lib/docker/* | /run/docker/*) targets=("$target" "${targets[@]}") ;; esac
done </proc/self/mountinfo
((!${#targets[@]})) || umount -l "${targets[@]}"
ip link set lo up
mount -t sysfs sysfs "$folder/sys"
for part in class/net devices/virtual/net; do mount --bind "$folder/sys/$part" "/sys/$part"; done
umount -l "$folder/sys"
DOCKER_HOST=unix://$folder/docker.sock exec "$@""#;
/// The first process of the engine's namespace: it ends with its input, and the rest with it.
const POWER: &str = "mount -t tmpfs tmpfs /run; exec 3<&0; echo on; cat <&3 & wait";
const CONTAINERD: &str = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
/// A socket tells nobody that somebody listens, or no longer does.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs the test of this name on a machine of its own; `story` is what that test then does.
pub fn apart<F: Future<Output = anyhow::Result<()>>>(
    test: &str,
    story: impl FnOnce(Engine) -> F,
) -> anyhow::Result<()> {
    let Ok(source) = env::var(APART) else {
        return once_more(test);
    };
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    runtime.block_on(async { story(Engine::start(&source).await?).await })
}

#[expect(clippy::print_stdout, reason = "what the test says, on its machine")]
fn once_more(test: &str) -> anyhow::Result<()> {
    // Two cores bear one story at a time.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let source = env::var("DOCKER_HOST").unwrap_or(USUAL_ENGINE.to_owned());
    let mut apart = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount"])
        .args(["--", "bash", "-c", MACHINE])
        .arg(Path::new(BELOW).join(place::TEST.trim_end_matches('-')))
        .arg(env::current_exe().context("find this test")?)
        .args(["--exact", test, "--nocapture"])
        .env(APART, source)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("run the test on a machine of its own")?;
    let said = apart.stdout.take().context("read what it says")?;
    // Without a test of this name nothing fails, either.
    let mut passed = false;
    for line in BufReader::new(said).lines() {
        let line = line.context("read what it says")?;
        passed |= line.starts_with("test result: ok. 1 passed");
        println!("{line}");
    }
    let ended = apart.wait().context("wait for the test")?;
    anyhow::ensure!(passed && ended.success(), "it ended with {ended}");
    Ok(())
}

pub struct Engine {
    folder: PathBuf,
    /// Whether a `dockerd` that starts lets containers be that it finds running.
    pub live_restore: bool,
    power: Option<Child>,
    containerd: Option<Child>,
    dockerd: Option<Child>,
}

impl Engine {
    async fn start(source: &str) -> anyhow::Result<Self> {
        let folder = Path::new(BELOW).join(format!("{}{}-engine", place::TEST, process::id()));
        let own = format!("unix://{}", folder.join("docker.sock").display());
        let own = env::var("DOCKER_HOST").is_ok_and(|host| host == own);
        anyhow::ensure!(own, "this is no machine of our own");
        sweep().context("sweep up after killed runs")?;
        fs::create_dir_all(&folder).context("make a folder")?;
        fs::write(folder.join("containerd.toml"), CONTAINERD).context("set containerd")?;
        fs::write(folder.join("daemon.json"), "{}").context("set dockerd")?;
        let mut engine = Self {
            folder,
            live_restore: false,
            power: None,
            containerd: None,
            dockerd: None,
        };
        engine.boot().await?;
        let image = env::var("SANDBOX_IMAGE").unwrap_or("clawkaka-sandbox:dev".to_owned());
        let load = "docker --host \"$0\" save \"$1\" | docker load";
        let load = ["-o", "pipefail", "-c", load, source, &image];
        command::run("bash", &load)
            .await
            .context("load the image")?;
        Ok(engine)
    }

    /// As a machine comes up: what was on the disk is all there is.
    pub async fn boot(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.power.is_none(), "it is up already");
        let mut power = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["--", "bash", "-c", POWER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("make a namespace")?;
        let on = power.stdout.take().map(|mut on| on.read_exact(&mut [0; 3]));
        self.power = Some(power);
        on.context("read from a namespace")?.context("make /run")?;

        let words = [
            "containerd".to_owned(),
            format!("--config={}", self.at("containerd.toml")),
            format!("--root={}", self.at("containerd")),
            format!("--address={}", self.at("containerd.sock")),
        ];
        self.containerd = Some(self.spawn(&words)?);
        self.listens("containerd").await?;
        self.start_dockerd().await
    }

    /// Power is cut: every process ends at once, and of networks, walls and mounts nothing is left.
    pub fn lose_power(&mut self) {
        if let Some(mut power) = self.power.take() {
            drop(power.stdin.take());
            // It is over when the last process in the namespace is.
            while matches!(power.try_wait(), Ok(None)) {
                thread::sleep(LOOK_EVERY);
                thaw(&self.folder);
            }
        }
        for mut one in [self.dockerd.take(), self.containerd.take()]
            .into_iter()
            .flatten()
        {
            let _ = one.wait();
        }
        for link in try_now("ip", &["-o", "link", "show", "type", "bridge"]).lines() {
            let name = link.split([':', '@']).nth(1).unwrap_or_default().trim();
            try_now("ip", &["link", "delete", name]);
        }
        try_now("nft", &["flush", "ruleset"]);
        remove_groups(&self.folder);
    }

    pub async fn start_dockerd(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.dockerd.is_none(), "dockerd runs already");
        let group = self.folder.file_name().unwrap_or_default();
        let words = [
            "dockerd".to_owned(),
            format!("--config-file={}", self.at("daemon.json")),
            format!("--data-root={}", self.at("docker")),
            format!("--host=unix://{}", self.at("docker.sock")),
            format!("--containerd={}", self.at("containerd.sock")),
            format!("--cgroup-parent=/{}", group.display()),
            format!("--live-restore={}", self.live_restore),
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            "--bridge=none".to_owned(),
        ];
        self.dockerd = Some(self.spawn(&words)?);
        self.listens("docker").await?;
        command::run("docker", &["version"])
            .await
            .context("ask dockerd")?;
        Ok(())
    }

    /// Ends it as the kernel would when memory is out; containers go on.
    pub async fn kill_dockerd(&mut self) -> anyhow::Result<()> {
        let mut dockerd = self.dockerd.take().context("dockerd does not run")?;
        let above = dockerd.id().to_string();
        command::run("pkill", &["-KILL", "-P", &above]).await?;
        dockerd.wait().context("wait for dockerd")?;
        Ok(())
    }

    fn at(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// In the namespace; dies with the process that is returned.
    fn spawn(&self, words: &[String]) -> anyhow::Result<Child> {
        let power = self.power.as_ref().context("it has no power")?.id();
        let log = self.at(&format!("{}.log", words[0]));
        let log = fs::File::options().create(true).append(true).open(log);
        let log = log.context("open a log")?;
        Command::new("nsenter")
            .arg(format!("--pid=/proc/{power}/ns/pid_for_children"))
            .arg(format!("--mount=/proc/{power}/ns/mnt"))
            .args(["--", "setpriv", "--pdeathsig", "KILL", "--"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share a log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", words[0]))
    }

    /// Waits until somebody listens on this socket of ours.
    async fn listens(&mut self, name: &str) -> anyhow::Result<()> {
        let socket = self.at(&format!("{name}.sock"));
        let started = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            let both = [self.containerd.as_mut(), self.dockerd.as_mut()];
            let ended = both
                .into_iter()
                .flatten()
                .any(|one| one.try_wait().is_ok_and(|ended| ended.is_some()));
            anyhow::ensure!(!ended, "it has ended: {}", self.tail());
            let patient = started.elapsed() < PATIENCE;
            anyhow::ensure!(patient, "{name} does not listen: {}", self.tail());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// The ends of its logs.
    pub fn tail(&self) -> String {
        let end = |name| {
            let text = fs::read_to_string(self.at(name)).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        ["containerd.log", "dockerd.log"].map(end).join("\n")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.lose_power();
        remove(&self.folder);
    }
}

/// Removes what killed runs left on the disk; their processes, mounts and networks ended with them.
fn sweep() -> anyhow::Result<()> {
    for entry in fs::read_dir(BELOW).context("list folders")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with("-engine") && place::is_of_the_dead(&name) {
            thaw(&entry.path());
            remove_groups(&entry.path());
            remove(&entry.path());
        }
    }
    Ok(())
}

fn remove(folder: &Path) {
    let folder = folder.display().to_string();
    try_now("rm", &["-rf", "--one-file-system", &folder]);
}

/// Who is frozen in a control group of the first version cannot even die. Killed, they no longer run.
fn thaw(folder: &Path) {
    let group = Path::new("/sys/fs/cgroup/freezer").join(folder.file_name().unwrap_or_default());
    for container in fs::read_dir(group).into_iter().flatten().flatten() {
        let _ = fs::write(container.path().join("freezer.state"), "THAWED");
    }
}

/// The control groups of containers that are gone.
fn remove_groups(folder: &Path) {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let below = format!("*/{name}*");
    let rmdir = [
        "-depth", "-type", "d", "-path", &below, "-exec", "rmdir", "{}", ";",
    ];
    try_now("find", &[&["/sys/fs/cgroup"], &rmdir[..]].concat());
}
