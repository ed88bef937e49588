use std::{future::Future, time::Duration};

use isa_config::{Endpoint, EngineKind};
use serde::{Serialize, Serializer};
use tokio::time::{Instant, timeout_at};

use crate::{
    Error,
    probe::{diagnose, diagnosis_limit},
};

/// One thing that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What a person reads: `"SET/GET"`.
    pub name: String,
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    pub took: Duration,
    /// Why it failed, with its causes on one line; `None` when it went well.
    pub error: Option<String>,
}

/// What came of the checks of one engine.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub engine: EngineKind,
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    pub took: Duration,
    /// In order. After a step that failed only the removal of what was made follows.
    pub steps: Vec<Step>,
}

impl Report {
    /// Whether every step went well.
    pub fn ok(&self) -> bool {
        self.steps.iter().all(|s| s.error.is_none())
    }
}

fn milliseconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64() * 1000.0)
}

/// A step failed, which ends the check; why is in the report.
#[derive(Debug)]
pub(crate) struct Stop;

/// The steps of one engine's check as they are taken.
pub(crate) struct Run<'a> {
    kind: EngineKind,
    endpoint: &'a Endpoint,
    started: Instant,
    limit: Duration,
    steps: Vec<Step>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(kind: EngineKind, endpoint: &'a Endpoint, limit: Duration) -> Self {
        let limit = limit - diagnosis_limit(limit);
        Self {
            kind,
            endpoint,
            started: Instant::now(),
            limit,
            steps: Vec::new(),
        }
    }

    /// Takes a step. A fifth of the time is kept for [`Run::remove`], so that a step that hangs leaves room for it.
    pub(crate) fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Stop>> {
        // Boxed before anything holds it: what the clients do is large.
        self.take(name, self.limit * 4 / 5, None, Box::pin(work))
    }

    /// Removes what a step has made, or may have made before it failed, by its unique name. Call it whatever became
    /// of that step, with work that succeeds when there is nothing to remove.
    pub(crate) fn remove(
        &mut self,
        name: &str,
        made: &str,
        work: impl Future<Output = Result<(), Error>>,
    ) -> impl Future<Output = Result<(), Stop>> {
        self.take(name, self.limit, Some(made), Box::pin(work))
    }

    async fn take<T>(
        &mut self,
        name: &str,
        limit: Duration,
        made: Option<&str>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Stop> {
        let began = Instant::now();
        let outcome = match timeout_at(self.started + limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::TimedOut(began.elapsed())),
        };
        let (value, error) = match outcome {
            Ok(value) => (Ok(value), None),
            Err(error) => {
                let error = diagnose(self.kind, self.endpoint, error, diagnosis_limit(self.limit)).await;
                let left = made.map_or_else(String::new, |made| format!("; {made} may be left behind"));
                (Err(Stop), Some(error.explain() + &left))
            }
        };
        let name = name.to_owned();
        self.steps.push(Step {
            name,
            took: began.elapsed(),
            error,
        });
        value
    }

    pub(crate) fn finish(self) -> Report {
        Report {
            engine: self.kind,
            took: self.started.elapsed(),
            steps: self.steps,
        }
    }
}

/// A name that nothing else has: `isa-verify-` and 32 hexadecimal digits; fit for buckets, keys, topics and labels.
pub(crate) fn unique_name() -> String {
    format!("isa-verify-{}", uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_that_hangs_ends_in_time_and_leaves_time_to_clean_up() {
        let endpoint = Endpoint::new("file:///nowhere");
        let mut run = Run::new(EngineKind::Duckdb, &endpoint, Duration::from_secs(10));
        run.step("hang", std::future::pending::<Result<(), Error>>())
            .await
            .unwrap_err();
        run.remove("remove", "this", async { Ok(()) }).await.unwrap();
        run.remove("remove", "that", async { Err(Error::wrong("remove", 1, 2)) })
            .await
            .unwrap_err();
        let report = run.finish();
        let errors: Vec<_> = report
            .steps
            .iter()
            .map(|s| s.error.as_deref().unwrap_or_default())
            .collect();
        assert!(errors[0].starts_with("not done within"), "{errors:?}");
        assert_eq!(
            errors[1..],
            ["", "remove: expected 1, got 2; that may be left behind"]
        );
        assert!(!report.ok());
    }

    #[test]
    fn durations_are_milliseconds_in_json() {
        let step = Step {
            name: "PING".into(),
            took: Duration::from_micros(1500),
            error: None,
        };
        let report = Report {
            engine: EngineKind::Redis,
            took: Duration::from_millis(2),
            steps: vec![step],
        };
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::json!({"engine": "redis", "took_ms": 2.0,
                "steps": [{"name": "PING", "took_ms": 1.5, "error": null}]})
        );
    }
}
