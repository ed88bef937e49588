use axum::{
    extract::{Path, State},
    http::{Method, Uri},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{Body, look, reply_to_work};
use crate::{
    engine::{Engine, Work},
    service::AliasAction,
    storage::AliasMap,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRequest {
    actions: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
enum Action {
    #[serde(rename = "create_alias")]
    Create {
        collection_name: String,
        alias_name: String,
    },
    #[serde(rename = "rename_alias")]
    Rename {
        old_alias_name: String,
        new_alias_name: String,
    },
    #[serde(rename = "delete_alias")]
    Delete { alias_name: String },
}

impl From<Action> for AliasAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Create {
                collection_name,
                alias_name,
            } => Self::Create {
                alias: alias_name,
                collection: collection_name,
            },
            Action::Rename {
                old_alias_name,
                new_alias_name,
            } => Self::Rename {
                old: old_alias_name,
                new: new_alias_name,
            },
            Action::Delete { alias_name } => Self::Delete(alias_name),
        }
    }
}

fn output(aliases: AliasMap) -> Value {
    let aliases: Vec<_> = aliases
        .into_iter()
        .map(|(alias, collection)| json!({ "alias_name": alias, "collection_name": collection }))
        .collect();
    json!({ "aliases": aliases })
}

pub(super) async fn change(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    method: Method,
    uri: Uri,
    body: Body,
) -> Response {
    if name != "aliases" {
        return super::wrong_method(method, uri).await;
    }
    reply_to_work(&engine, Work::Collections, move |service| {
        let request: ChangeRequest = body.parse()?;
        service.change_aliases(request.actions.into_iter().map(Into::into).collect())?;
        Ok(true)
    })
    .await
}

pub(super) async fn all(State(engine): State<Engine>) -> Response {
    look(&engine, |service| service.aliases(None).map(output))
}

pub(super) async fn of_collection(State(engine): State<Engine>, Path(name): Path<String>) -> Response {
    look(&engine, move |service| service.aliases(Some(&name)).map(output))
}
