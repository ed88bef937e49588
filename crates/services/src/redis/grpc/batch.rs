//! Batches.

use isa_proto::redis as pb;
use isa_server::{Call, Error};

use super::{Redis, convert, space};

impl Redis {
    pub(super) async fn run_batch(
        &self,
        call: &Call,
        request: pb::RedisBatchRequest,
    ) -> Result<pb::RedisBatchResponse, Error> {
        let commands = request.commands.into_iter().enumerate();
        let commands = commands
            .map(|(index, command)| convert::command(index, command))
            .collect::<Result<Vec<_>, _>>()?;
        let outcomes = self.told(self.store.batch(space(call), &commands).await)?;
        let mut errors = Vec::new();
        for (index, outcome) in outcomes.iter().enumerate() {
            if let Err(error) = outcome {
                errors.push(format!("{index}: {}: {error}", commands[index].operation));
            }
        }
        Ok(pb::RedisBatchResponse {
            success: errors.is_empty(),
            // At most 10000.
            executed_count: (outcomes.len() - errors.len()) as i32,
            errors,
        })
    }
}
