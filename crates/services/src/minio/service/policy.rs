//! Bucket policies: what those without credentials may do with one bucket of one tenant. A document reaches the engine
//! only if it grants what may be granted, to everybody, on this bucket; there it has the engine's name of the bucket.

use serde_json::{Map, Value, json};

use super::error::{StoreError, invalid};
use crate::minio::names::Bucket;

const FIELD: &str = "custom_policy";

/// Of S3, in bytes.
const MAX: usize = 20 << 10;

const ARN: &str = "arn:aws:s3:::";

const READ: &str = "s3:GetObject";
const WRITE: &str = "s3:PutObject";

/// What may be granted: reading and writing of objects, and what goes with it. Nothing that changes the bucket.
const ACTIONS: [&str; 8] = [
    READ,
    "s3:GetObjectVersion",
    WRITE,
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:GetBucketLocation",
];

/// What may stand in a statement.
const KEYS: [&str; 6] = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];

/// What those without credentials may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    Private,
    Read,
    Write,
    ReadWrite,
    /// As the tenant's document says.
    Custom(String),
}

/// The document for the engine; `None` if there is to be none.
pub(super) fn document(access: &Access, bucket: &Bucket) -> Result<Option<String>, StoreError> {
    let actions = match access {
        Access::Private => return Ok(None),
        Access::Read => json!([READ]),
        Access::Write => json!([WRITE]),
        Access::ReadWrite => json!([READ, WRITE]),
        Access::Custom(given) if given.trim().is_empty() => return Ok(None),
        Access::Custom(given) => return checked(given, bucket).map(Some),
    };
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": ["*"] },
            "Action": actions,
            "Resource": [format!("{ARN}{}/*", bucket.engine())],
        }],
    });
    Ok(Some(document.to_string()))
}

/// What a document of the engine says, and how the tenant would write it.
pub(super) fn read(document: &str, bucket: &Bucket) -> Result<(Access, String), StoreError> {
    let mut document: Value = serde_json::from_str(document).map_err(StoreError::internal)?;
    let statements = document.get_mut("Statement").map(each_mut).unwrap_or_default();
    let mut simple = Vec::new();
    let count = statements.len();
    for statement in statements {
        if count == 1
            && statement.get("Condition").is_none()
            && texts(statement.get("Resource")) == Some(vec![format!("{ARN}{}/*", bucket.engine())])
        {
            simple = texts(statement.get("Action")).unwrap_or_default();
        }
        for resource in statement.get_mut("Resource").map(each_mut).unwrap_or_default() {
            let given = resource
                .as_str()
                .and_then(|it| it.strip_prefix(ARN)?.strip_prefix(bucket.engine()));
            if let Some(rest) = given {
                *resource = format!("{ARN}{}{rest}", bucket.given()).into();
            }
        }
    }
    let text = document.to_string();
    simple.sort_unstable();
    let access = match simple.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [READ] => Access::Read,
        [WRITE] => Access::Write,
        [READ, WRITE] => Access::ReadWrite,
        _ => Access::Custom(text.clone()),
    };
    Ok((access, text))
}

fn checked(given: &str, bucket: &Bucket) -> Result<String, StoreError> {
    if given.len() > MAX {
        return Err(invalid(FIELD, "has more than 20 KiB"));
    }
    let mut document: Value =
        serde_json::from_str(given).map_err(|why| invalid(FIELD, format_args!("is no JSON: {why}")))?;
    let Value::Object(parts) = &mut document else {
        return Err(invalid(FIELD, "is no JSON object"));
    };
    parts.entry("Version").or_insert_with(|| "2012-10-17".into());
    if let Some(other) = parts
        .keys()
        .find(|key| !["Version", "Id", "Statement"].contains(&key.as_str()))
    {
        return Err(invalid(FIELD, format_args!("has {other:?}, which is not known")));
    }
    let statements = parts.get_mut("Statement").map(each_mut).unwrap_or_default();
    if statements.is_empty() {
        return Err(invalid(
            FIELD,
            "has no statement; send an empty policy to remove it",
        ));
    }
    for (number, statement) in statements.into_iter().enumerate() {
        let wrong = |why: String| invalid(FIELD, format_args!("statement {number} {why}"));
        let Value::Object(statement) = statement else {
            return Err(wrong("is no JSON object".into()));
        };
        check_statement(statement, bucket).map_err(wrong)?;
    }
    Ok(document.to_string())
}

/// Checks one statement, and puts in the engine's name of the bucket.
fn check_statement(statement: &mut Map<String, Value>, bucket: &Bucket) -> Result<(), String> {
    if let Some(other) = statement.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("has {other:?}; it may have {}", KEYS.join(", ")));
    }
    if statement.get("Effect").and_then(Value::as_str) != Some("Allow") {
        return Err("must have \"Effect\": \"Allow\"; what is not allowed is denied".into());
    }
    let everybody = match statement.get("Principal") {
        Some(Value::Object(who)) if who.len() == 1 => texts(who.get("AWS")),
        who => texts(who),
    };
    if everybody.as_deref() != Some(&["*".to_owned()]) {
        return Err("must have \"Principal\": \"*\": there are no other principals".into());
    }
    let actions = texts(statement.get("Action")).unwrap_or_default();
    if actions.is_empty() || !actions.iter().all(|action| ACTIONS.contains(&action.as_str())) {
        return Err(format!("may allow {} alone", ACTIONS.join(", ")));
    }
    if statement
        .get("Condition")
        .is_some_and(|condition| !condition.is_object())
    {
        return Err("has a condition that is no JSON object".into());
    }
    let resources = statement.get_mut("Resource").map(each_mut).unwrap_or_default();
    if resources.is_empty() {
        return Err("has no resource".into());
    }
    for resource in resources {
        let rest = resource
            .as_str()
            .and_then(|text| text.strip_prefix(ARN)?.strip_prefix(bucket.given()))
            .filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let Some(rest) = rest else {
            let own = bucket.given();
            return Err(format!(
                "may name \"{ARN}{own}\" and what begins with \"{ARN}{own}/\" alone"
            ));
        };
        *resource = format!("{ARN}{}{rest}", bucket.engine()).into();
    }
    Ok(())
}

/// One or many, as policies write it.
fn each_mut(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(many) => many.iter_mut().collect(),
        one => vec![one],
    }
}

/// One text or many; `None` if anything else is among them.
fn texts(value: Option<&Value>) -> Option<Vec<String>> {
    match value? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(many) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use isa_server::Tenant;

    use super::*;

    fn bucket() -> Bucket {
        Bucket::of(&Tenant::user("alice"), "bucket_name", "logs").unwrap()
    }

    fn policy(resource: &str, action: &str, principal: Value) -> Access {
        let statement =
            json!({"Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource});
        Access::Custom(json!({"Version": "2012-10-17", "Statement": [statement]}).to_string())
    }

    #[test]
    fn policies_name_the_tenants_bucket_both_ways() {
        for access in [Access::Read, Access::Write, Access::ReadWrite] {
            let sent = document(&access, &bucket()).unwrap().unwrap();
            assert!(sent.contains(bucket().engine()), "{sent}");
            let (read, text) = read(&sent, &bucket()).unwrap();
            assert_eq!(read, access);
            assert!(
                text.contains("arn:aws:s3:::logs/*") && !text.contains(bucket().engine()),
                "{text}"
            );
        }
        let custom = policy("arn:aws:s3:::logs/public/*", "s3:GetObject", json!("*"));
        let sent = document(&custom, &bucket()).unwrap().unwrap();
        assert!(
            sent.contains(&format!("{ARN}{}/public/*", bucket().engine())),
            "{sent}"
        );
        let (Access::Custom(back), text) = read(&sent, &bucket()).unwrap() else {
            panic!("not custom: {sent}");
        };
        assert!(
            back == text && back.contains("arn:aws:s3:::logs/public/*"),
            "{back}"
        );
        assert_eq!(document(&Access::Custom(" ".into()), &bucket()).unwrap(), None);
    }

    #[test]
    fn what_is_not_the_tenants_is_refused() {
        let all = json!({"AWS": ["*"]});
        for (resource, action, principal) in [
            ("arn:aws:s3:::*", "s3:GetObject", &all),
            ("arn:aws:s3:::logs*", "s3:GetObject", &all),
            ("arn:aws:s3:::logs-of-bob/*", "s3:GetObject", &all),
            ("*", "s3:GetObject", &all),
            ("arn:aws:s3:::logs/*", "s3:*", &all),
            ("arn:aws:s3:::logs/*", "s3:PutBucketPolicy", &all),
            (
                "arn:aws:s3:::logs/*",
                "s3:GetObject",
                &json!({"AWS": "arn:aws:iam::1:root"}),
            ),
            ("arn:aws:s3:::logs/*", "s3:GetObject", &Value::Null),
        ] {
            let access = policy(resource, action, principal.clone());
            let error = document(&access, &bucket()).unwrap_err().to_string();
            assert!(error.starts_with("custom_policy: statement 0"), "{error}");
        }
        for text in [
            "{",
            "[]",
            "{}",
            r#"{"Statement":[]}"#,
            r#"{"Statement":[1]}"#,
            r#"{"Statement":{"Effect":"Deny"}}"#,
        ] {
            assert!(
                document(&Access::Custom(text.into()), &bucket()).is_err(),
                "{text}"
            );
        }
    }
}
