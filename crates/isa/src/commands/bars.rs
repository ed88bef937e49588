//! Progress of installs and images.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use comfy_table::Color;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use isa_platform::install::{Event, EventKind, Unit};

use crate::output::{fancy_stderr, paint_stderr, tell};

/// A bar for each thing that is being made on a terminal, a line for each phase elsewhere.
pub(super) struct Bars {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self {
            all: MultiProgress::new(),
            bars: Mutex::default(),
        }
    }

    pub(super) fn show(&self, event: Event) {
        let Event { name, kind } = event;
        if fancy_stderr()
            && let Ok(mut bars) = self.bars.lock()
        {
            let bar = bars.entry(name.clone()).or_insert_with(|| self.new_bar(&name));
            move_bar(bar, &kind);
        }
        let line = match kind {
            EventKind::Started { .. } | EventKind::Advanced(_) => return,
            EventKind::Message(_) if fancy_stderr() => return,
            EventKind::Message(text) => format!("        {name}: {text}"),
            EventKind::Present => format!("{} {name}", paint_stderr(Color::Green, "present")),
            EventKind::Done { seconds } => format!(
                "{} {name} in {seconds:.1} s",
                paint_stderr(Color::Green, "ready  ")
            ),
            EventKind::Failed(why) => format!("{} {name}: {why}", paint_stderr(Color::Red, "failed ")),
        };
        self.all.suspend(|| tell!("{line}"));
    }

    fn new_bar(&self, name: &str) -> ProgressBar {
        let bar = self.all.add(ProgressBar::no_length());
        bar.set_prefix(name.to_owned());
        bar.set_style(style("{prefix:12} {spinner} {elapsed:>4} {msg}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

fn move_bar(bar: &ProgressBar, kind: &EventKind) {
    match kind {
        EventKind::Started {
            total: Some(total),
            unit,
        } => {
            bar.set_style(style(match unit {
                Unit::Bytes => "{prefix:12} {bar:30} {bytes:>10} of {total_bytes} {elapsed:>4} {msg}",
                Unit::Modules => "{prefix:12} {bar:30} {pos:>5} of {len} modules {elapsed:>4} {msg}",
                Unit::Packages => "{prefix:12} {bar:30} {pos:>5} of {len} packages {elapsed:>4} {msg}",
                Unit::Files => "{prefix:12} {bar:30} {pos:>5} of {len} files {elapsed:>4} {msg}",
            }));
            bar.set_position(0);
            bar.set_length(*total);
        }
        EventKind::Started { total: None, .. } => {
            bar.set_style(style("{prefix:12} {spinner} {elapsed:>4} {msg}"))
        }
        EventKind::Advanced(done) => bar.set_position(*done),
        EventKind::Message(text) => bar.set_message(text.clone()),
        EventKind::Present | EventKind::Done { .. } | EventKind::Failed(_) => bar.finish_and_clear(),
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates above are constants; a wrong one would only look plain.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
