//! What is shown while engines start: a line as each settles, and on a terminal a moving line of what is missing.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use comfy_table::Color;
use indicatif::{ProgressBar, ProgressStyle};
use isa_config::EngineKind;
use isa_platform::status::{EngineStatus, State};

use crate::output::{color_of, fancy_stderr, paint_stderr, seconds, tell};

pub(super) struct Progress {
    bar: ProgressBar,
    told: BTreeSet<EngineKind>,
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
    pub(super) fn show<'a>(&mut self, engines: impl Iterator<Item = &'a EngineStatus>) {
        let mut pending = Vec::new();
        for engine in engines {
            if !engine.status.settled() {
                pending.push(engine.name.name());
            } else if engine.status != State::Stopped && self.told.insert(engine.name) {
                self.tell(engine);
            }
        }
        self.bar.set_message(format!("starting {}", pending.join(", ")));
    }

    fn tell(&self, engine: &EngineStatus) {
        let name = engine.name;
        let line = match engine.status {
            State::Ready => {
                let time = engine
                    .ready_ms
                    .map_or_else(|| seconds(self.started.elapsed().as_millis() as u64), seconds);
                format!("{} {name:<10} {time:>7}", paint_stderr(Color::Green, "ready  "))
            }
            state => {
                let word = format!("{:<7}", state.to_string().to_lowercase());
                format!(
                    "{} {name:<10} {}",
                    paint_stderr(color_of(state), word),
                    engine.message.as_deref().unwrap_or_default()
                )
            }
        };
        // suspend(): prints even where the bar is hidden, unlike println().
        self.bar.suspend(|| tell!("{line}"));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
