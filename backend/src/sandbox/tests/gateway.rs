//! A gateway in memory: whether it comes to rest, and what happens meanwhile, is each test's.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::ensure;
use futures_util::{FutureExt, future::BoxFuture};

use super::stall::Stall;
use crate::sandbox::{
    Endpoint,
    sleep::{Gateway, IsNeeded},
};

#[derive(Default)]
pub struct Scripted(Mutex<State>, Arc<Stall>);

type Meanwhile = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    busy: bool,
    silent: bool,
    shut: bool,
    meanwhile: Option<Meanwhile>,
    log: Vec<&'static str>,
}

impl Scripted {
    pub fn at(stall: Arc<Stall>) -> Self {
        Self(Mutex::default(), stall)
    }

    /// It has always still something to do.
    pub fn is_busy(&self, busy: bool) {
        self.0.lock().unwrap().busy = busy;
    }

    /// It answers nothing.
    pub fn is_silent(&self) {
        self.0.lock().unwrap().silent = true;
    }

    /// Whether it lets nobody in.
    pub fn is_shut(&self, shut: bool) {
        self.0.lock().unwrap().shut = shut;
    }

    /// While it comes to rest, this happens.
    pub fn meanwhile(&self, happens: impl Fn() + Send + Sync + 'static) {
        self.0.lock().unwrap().meanwhile = Some(Arc::new(happens));
    }

    /// What it was asked, and what came of it.
    pub fn log(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    fn say(&self, what: &'static str) -> anyhow::Result<()> {
        let mut state = self.0.lock().unwrap();
        ensure!(!state.silent, "nobody answers");
        state.log.push(what);
        Ok(())
    }
}

impl Gateway for Scripted {
    fn meet<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            self.1.pass("boot").await;
            ensure!(!self.0.lock().unwrap().shut, "it lets nobody in");
            self.say("met")?;
            self.1.pass("met").await;
            Ok(())
        }
        .boxed()
    }

    fn suspend<'a>(
        &'a self,
        _: &'a Endpoint,
        _: Duration,
        mut is_needed: IsNeeded<'a>,
    ) -> BoxFuture<'a, anyhow::Result<bool>> {
        async move {
            let (meanwhile, busy) = {
                let state = self.0.lock().unwrap();
                (state.meanwhile.clone(), state.busy)
            };
            if let Some(happens) = meanwhile {
                happens();
            }
            let rests = !busy && !is_needed().await;
            self.say(if rests { "rests" } else { "goes on" })?;
            Ok(rests)
        }
        .boxed()
    }

    fn resume<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, anyhow::Result<()>> {
        async { self.say("resumed") }.boxed()
    }
}
