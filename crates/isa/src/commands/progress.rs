//! What is shown while engines start: a line as each settles, and on a terminal a moving line of what is missing.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use comfy_table::Color;
use indicatif::{ProgressBar, ProgressStyle};
use isa_platform::status::{PlatformStatus, State};

use crate::output::{color_of, fancy_stderr, paint_stderr, seconds, tell};

pub(super) struct Progress {
    bar: ProgressBar,
    told: BTreeSet<String>,
    started: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = if fancy_stderr() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(
            ProgressStyle::with_template("{spinner} {elapsed} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            bar,
            told: BTreeSet::new(),
            started: Instant::now(),
        }
    }

    /// Shows what has changed since the last call.
    pub(super) fn show(&mut self, status: &PlatformStatus) {
        let engines = status.engines.iter().map(|e| {
            let name = e.name.to_string();
            (name, e.status, e.ready_ms, e.message.as_deref())
        });
        let services = status.services.iter().map(|s| {
            let name = format!("{}-grpc", s.name);
            (name, s.status, s.ready_ms, s.message.as_deref())
        });
        let mut pending = Vec::new();
        for (name, state, ready_ms, message) in engines.chain(services) {
            if !state.settled() {
                pending.push(name);
            } else if state != State::Stopped && !self.told.contains(&name) {
                self.tell(&name, state, ready_ms, message.unwrap_or_default());
                self.told.insert(name);
            }
        }
        self.bar.set_message(format!("starting {}", pending.join(", ")));
    }

    fn tell(&self, name: &str, state: State, ready_ms: Option<u64>, message: &str) {
        let line = match state {
            State::Ready => {
                let time =
                    ready_ms.map_or_else(|| seconds(self.started.elapsed().as_millis() as u64), seconds);
                format!("{} {name:<13} {time:>7}", paint_stderr(Color::Green, "ready  "))
            }
            state => {
                let word = format!("{:<7}", state.to_string().to_lowercase());
                format!("{} {name:<13} {message}", paint_stderr(color_of(state), word))
            }
        };
        // suspend(): prints even where the bar is hidden, unlike println().
        self.bar.suspend(|| tell!("{line}"));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
