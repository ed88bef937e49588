//! Other names for collections, usable wherever a collection's name is but to create and to delete it.

use super::{Failure, Service, check, name};
use crate::storage::AliasMap;

/// One of a list of changes that are made together or not at all.
#[derive(Debug)]
pub(crate) enum AliasAction {
    /// Takes an alias that is there already away from its collection.
    Create {
        alias: String,
        collection: String,
    },
    Rename {
        old: String,
        new: String,
    },
    /// No error if there is none.
    Delete(String),
}

impl Service {
    /// Aliases with their collections: all, or those of one collection.
    pub(crate) fn aliases(&self, of: Option<&str>) -> Result<AliasMap, Failure> {
        let mut aliases = self.storage().aliases();
        if let Some(name) = of {
            let collection = self.storage().get(name)?;
            aliases.retain(|_, of| *of == collection.name);
        }
        Ok(aliases)
    }

    /// Makes all changes, in their order, or none. Durable when this returns; requests see all or nothing of it.
    pub(crate) fn change_aliases(&self, actions: Vec<AliasAction>) -> Result<(), Failure> {
        check::batch("actions", actions.len())?;
        self.storage().change_aliases(|map, is_collection| {
            actions
                .into_iter()
                .try_for_each(|action| apply(map, action, is_collection))
        })
    }
}

fn apply(
    map: &mut AliasMap,
    action: AliasAction,
    is_collection: &dyn Fn(&str) -> bool,
) -> Result<(), Failure> {
    let new_name = |alias: &str| {
        name::check("alias_name", alias, name::MAX_COLLECTION)?;
        if is_collection(alias) {
            return Err(Failure::AlreadyExists(format!(
                "Collection `{alias}` already exists!"
            )));
        }
        Ok(())
    };
    match action {
        AliasAction::Create { alias, collection } => {
            new_name(&alias)?;
            if !is_collection(&collection) {
                return Err(Failure::no_collection(&collection));
            }
            map.insert(alias, collection);
        }
        AliasAction::Rename { old, new } => {
            new_name(&new)?;
            let collection = map
                .remove(&old)
                .ok_or_else(|| Failure::NotFound(format!("Alias {old} does not exists!")))?;
            map.insert(new, collection);
        }
        AliasAction::Delete(alias) => {
            map.remove(&alias);
        }
    }
    Ok(())
}
