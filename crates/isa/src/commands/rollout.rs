//! What is shown while pods become ready: on a terminal a moving line for each, elsewhere a line for each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use comfy_table::Color;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use isa_deploy::{PodState, Progress, diagnose::Finding};

use super::diagnose;
use crate::output::{fancy_stderr, paint_stderr, tell};

pub(super) struct Rollout {
    all: MultiProgress,
    pods: BTreeMap<String, Line>,
    told: Told,
    trouble: Option<String>,
    done: usize,
    last_ready: Option<Duration>,
    started: Instant,
}

/// What has been shown, and when the last workload became ready.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) told: Told,
    pub(super) last_ready: Option<Duration>,
}

/// The findings that have been printed. Their evidence may change without making them new.
#[derive(Default)]
pub(super) struct Told(BTreeSet<String>);

impl Told {
    fn insert(&mut self, finding: &Finding) -> bool {
        self.0.insert(Self::key(finding))
    }

    pub(super) fn contains(&self, finding: &Finding) -> bool {
        self.0.contains(&Self::key(finding))
    }

    fn key(finding: &Finding) -> String {
        format!("{} {}", finding.object, finding.problem)
    }
}

struct Line {
    bar: ProgressBar,
    doing: String,
}

impl Rollout {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            all: MultiProgress::new(),
            pods: BTreeMap::new(),
            told: Told::default(),
            trouble: None,
            done: 0,
            last_ready: None,
            started,
        }
    }

    /// Shows what has changed since the last call.
    pub(super) fn show(&mut self, progress: &Progress) {
        let done = progress.workloads.iter().filter(|w| w.done).count();
        if done > self.done {
            self.last_ready = Some(self.started.elapsed());
        }
        self.done = done;
        for pod in &progress.pods {
            self.pod(pod);
        }
        let gone: Vec<_> = self
            .pods
            .keys()
            .filter(|name| !progress.pods.iter().any(|p| p.name == **name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(line) = self.pods.remove(&name) {
                line.bar.finish_and_clear();
            }
        }
        for finding in &progress.findings {
            if self.told.insert(finding) {
                self.lines(&diagnose::lines(finding, paint_stderr));
            }
        }
        if progress.trouble != self.trouble {
            self.trouble.clone_from(&progress.trouble);
            if let Some(trouble) = &self.trouble {
                self.lines(&[format!("{} {trouble}", paint_stderr(Color::Yellow, "waiting:"))]);
            }
        }
    }

    fn pod(&mut self, pod: &PodState) {
        let known = self.pods.get(&pod.name);
        if known.is_some_and(|line| line.doing == pod.doing) {
            return;
        }
        let color = match (pod.ready, pod.stuck) {
            (true, _) => Color::Green,
            (_, true) => Color::Red,
            _ => Color::Yellow,
        };
        let time = format!("{:.1} s", self.started.elapsed().as_secs_f64());
        if fancy_stderr() {
            let bar = known.map_or_else(|| self.new_bar(&pod.name), |line| line.bar.clone());
            if pod.ready {
                bar.finish_with_message(format!("{} after {time}", paint_stderr(color, "ready")));
            } else {
                // One that was ready and no longer is moves again.
                bar.reset();
                bar.enable_steady_tick(Duration::from_millis(120));
                bar.set_message(paint_stderr(color, &pod.doing));
            }
            self.remember(pod, bar);
        } else {
            tell!("{time:>8} {:<36} {}", pod.name, pod.doing);
            self.remember(pod, ProgressBar::hidden());
        }
    }

    fn remember(&mut self, pod: &PodState, bar: ProgressBar) {
        let line = Line {
            bar,
            doing: pod.doing.clone(),
        };
        self.pods.insert(pod.name.clone(), line);
    }

    fn new_bar(&self, name: &str) -> ProgressBar {
        let bar = self.all.add(ProgressBar::no_length());
        bar.set_prefix(name.to_owned());
        bar.set_style(
            ProgressStyle::with_template("{spinner} {prefix:36} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar
    }

    fn lines(&self, lines: &[String]) {
        // suspend(): prints even where the bars are hidden, unlike println().
        self.all.suspend(|| lines.iter().for_each(|line| tell!("{line}")));
    }

    /// Leaves the last state of the lines on the screen, and returns what has been said.
    pub(super) fn finish(self) -> Shown {
        self.pods.values().for_each(|line| line.bar.abandon());
        Shown {
            told: self.told,
            last_ready: self.last_ready,
        }
    }
}
