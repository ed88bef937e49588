use std::collections::BTreeMap;

use isa_proto::{
    minio as pb,
    prost_types::{Struct, Value, value::Kind},
};
use tonic::Code;

use super::bed::{Bed, code, user};

pub(super) async fn tags_and_versions_are_kept(bed: &Bed) {
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "kept").await;
    // SeaweedFS takes ten, with those of the service.
    let many = if bed.seaweedfs { 7 } else { 47 };
    let tags: BTreeMap<_, _> = (0..many)
        .map(|i| (format!("key-{i}"), format!("value {i}")))
        .collect();
    let (bucket_name, user_id) = ("kept".to_owned(), alice.clone());
    let get = pb::GetBucketTagsRequest {
        bucket_name: bucket_name.clone(),
        user_id: user_id.clone(),
    };
    assert!(
        client
            .get_bucket_tags(get.clone())
            .await
            .unwrap()
            .into_inner()
            .tags
            .is_empty()
    );
    let set = pb::SetBucketTagsRequest {
        bucket_name: bucket_name.clone(),
        user_id: user_id.clone(),
        tags: tags.clone(),
    };
    client.set_bucket_tags(set).await.unwrap();
    assert_eq!(
        client
            .get_bucket_tags(get.clone())
            .await
            .unwrap()
            .into_inner()
            .tags,
        tags
    );
    let native = bed
        .s3
        .get_bucket_tagging()
        .bucket(bed.engine_name(&alice, "kept"))
        .send()
        .await
        .unwrap();
    assert!(
        native
            .tag_set()
            .iter()
            .any(|tag| tag.key() == "key-6" && tag.value() == "value 6")
    );
    let delete = pb::DeleteBucketTagsRequest {
        bucket_name: bucket_name.clone(),
        user_id: user_id.clone(),
    };
    client.delete_bucket_tags(delete).await.unwrap();
    assert!(
        client
            .get_bucket_tags(get)
            .await
            .unwrap()
            .into_inner()
            .tags
            .is_empty()
    );
    let info = pb::GetBucketInfoRequest {
        bucket_name: bucket_name.clone(),
        user_id: user_id.clone(),
    };
    let info = client
        .get_bucket_info(info)
        .await
        .unwrap()
        .into_inner()
        .bucket_info
        .unwrap();
    assert_eq!(info.owner_id, alice, "what the service notes stays");

    let versioning = pb::GetBucketVersioningRequest {
        bucket_name: bucket_name.clone(),
        user_id: user_id.clone(),
    };
    assert!(
        !client
            .get_bucket_versioning(versioning.clone())
            .await
            .unwrap()
            .into_inner()
            .enabled
    );
    for enabled in [true, false, true] {
        let set = pb::SetBucketVersioningRequest {
            bucket_name: bucket_name.clone(),
            user_id: user_id.clone(),
            enabled,
        };
        client.set_bucket_versioning(set).await.unwrap();
        let now = client
            .get_bucket_versioning(versioning.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(now.enabled, enabled);
    }
    let first = bed.put(&alice, "kept", "doc", b"one").await.version_id;
    let second = bed.put(&alice, "kept", "doc", b"two").await.version_id;
    assert!(!first.is_empty() && first != second);
    let get = pb::GetObjectRequest {
        bucket_name: bucket_name.clone(),
        object_key: "doc".into(),
        user_id: user_id.clone(),
        version_id: first.clone(),
        ..Default::default()
    };
    let (info, bytes) = bed.get(get.clone()).await.unwrap();
    assert_eq!(
        (info.version_id.as_str(), bytes.as_slice()),
        (first.as_str(), b"one".as_slice())
    );
    let delete = pb::DeleteObjectRequest {
        bucket_name,
        object_key: "doc".into(),
        user_id,
        version_id: first,
    };
    client.delete_object(delete).await.unwrap();
    assert_eq!(code(bed.get(get).await), Code::NotFound);
    assert_eq!(bed.read(&alice, "kept", "doc").await.unwrap(), b"two");
}

pub(super) async fn policies_open_the_tenants_own_bucket_alone(bed: &Bed) {
    let (alice, bob, mut client) = (user("alice"), user("bob"), bed.client.clone());
    for who in [&alice, &bob] {
        bed.create(who, "site").await;
        bed.put(who, "site", "index.html", who.as_bytes()).await;
    }
    let set = |policy_type: pb::BucketPolicyType, custom_policy: &str| pb::SetBucketPolicyRequest {
        bucket_name: "site".into(),
        user_id: alice.clone(),
        policy_type: policy_type.into(),
        custom_policy: custom_policy.into(),
    };
    let get = pb::GetBucketPolicyRequest {
        bucket_name: "site".into(),
        user_id: alice.clone(),
    };
    let plain = async |user: &str| {
        let url = format!(
            "{}/{}/index.html",
            bed.node.engine.url,
            bed.engine_name(user, "site")
        );
        reqwest::get(url).await.unwrap().status().as_u16()
    };
    assert_eq!(plain(&alice).await, 403);
    client
        .set_bucket_policy(set(pb::BucketPolicyType::BucketPolicyPublicRead, ""))
        .await
        .unwrap();
    assert_eq!((plain(&alice).await, plain(&bob).await), (200, 403));
    let now = client.get_bucket_policy(get.clone()).await.unwrap().into_inner();
    assert_eq!(now.policy_type(), pb::BucketPolicyType::BucketPolicyPublicRead);
    assert!(
        now.policy_json.contains("arn:aws:s3:::site/*"),
        "{}",
        now.policy_json
    );

    for foreign in [
        format!("arn:aws:s3:::{}/*", bed.engine_name(&bob, "site")),
        "arn:aws:s3:::*".to_owned(),
        "arn:aws:s3:::site*".to_owned(),
    ] {
        let document = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"{foreign}"}}]}}"#
        );
        let refused = client
            .set_bucket_policy(set(pb::BucketPolicyType::BucketPolicyCustom, &document))
            .await;
        assert_eq!(code(refused), Code::InvalidArgument, "{foreign}");
    }
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::site/public/*"]}]}"#;
    client
        .set_bucket_policy(set(pb::BucketPolicyType::BucketPolicyCustom, document))
        .await
        .unwrap();
    let now = client.get_bucket_policy(get.clone()).await.unwrap().into_inner();
    assert_eq!(now.policy_type(), pb::BucketPolicyType::BucketPolicyCustom);
    assert!(
        now.policy_json.contains("arn:aws:s3:::site/public/*"),
        "{}",
        now.policy_json
    );
    assert_eq!(plain(&alice).await, 403);
    // As the published client removes it.
    client
        .set_bucket_policy(set(pb::BucketPolicyType::BucketPolicyCustom, ""))
        .await
        .unwrap();
    let now = client.get_bucket_policy(get).await.unwrap().into_inner();
    assert_eq!(
        (now.policy_type(), now.policy_json.as_str()),
        (pb::BucketPolicyType::BucketPolicyPrivate, "")
    );
}

fn one(key: &str, kind: Kind) -> Option<Struct> {
    let value = Value { kind: Some(kind) };
    Some(Struct {
        fields: BTreeMap::from([(key.to_owned(), value)]),
    })
}

pub(super) async fn lifecycle_rules_are_kept(bed: &Bed) {
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "rules").await;
    let (bucket_name, user_id) = ("rules".to_owned(), alice.clone());
    let get = pb::GetBucketLifecycleRequest {
        bucket_name: bucket_name.clone(),
        user_id: user_id.clone(),
    };
    assert!(
        client
            .get_bucket_lifecycle(get.clone())
            .await
            .unwrap()
            .into_inner()
            .rules
            .is_empty()
    );
    let rule = pb::LifecycleRule {
        id: "drop-tmp".into(),
        status: "Enabled".into(),
        filter: one("prefix", Kind::StringValue("tmp/".into())),
        expiration: one("days", Kind::NumberValue(7.0)),
        transition: None,
    };
    let set = pb::SetBucketLifecycleRequest {
        bucket_name: bucket_name.clone(),
        user_id: user_id.clone(),
        rules: vec![rule.clone()],
    };
    client.set_bucket_lifecycle(set.clone()).await.unwrap();
    let rules = client
        .get_bucket_lifecycle(get.clone())
        .await
        .unwrap()
        .into_inner()
        .rules;
    assert_eq!(rules.len(), 1);
    assert_eq!(
        (&rules[0].filter, &rules[0].expiration),
        (&rule.filter, &rule.expiration)
    );
    assert_eq!(rules[0].status, "Enabled");
    let native = bed
        .s3
        .get_bucket_lifecycle_configuration()
        .bucket(bed.engine_name(&alice, "rules"));
    let native = native.send().await.unwrap();
    assert_eq!(native.rules()[0].expiration().and_then(|it| it.days()), Some(7));
    let mut moves = set;
    moves.rules[0].transition = Some(Struct {
        fields: BTreeMap::from([
            (
                "days".to_owned(),
                Value {
                    kind: Some(Kind::NumberValue(1.0)),
                },
            ),
            (
                "storage_class".to_owned(),
                Value {
                    kind: Some(Kind::StringValue("GLACIER".into())),
                },
            ),
        ]),
    });
    let moved = client.set_bucket_lifecycle(moves).await;
    assert_eq!(
        code(moved),
        Code::Unimplemented,
        "neither engine has a second class"
    );
    let delete = pb::DeleteBucketLifecycleRequest { bucket_name, user_id };
    client.delete_bucket_lifecycle(delete).await.unwrap();
    assert!(
        client
            .get_bucket_lifecycle(get)
            .await
            .unwrap()
            .into_inner()
            .rules
            .is_empty()
    );
}
