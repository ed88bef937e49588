//! Nodes and relationships.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_made_read_changed_and_removed() {
    let world = World::start().await;
    let made = world
        .create(
            &["Person", "A`b"],
            [("name", text("Ada")), ("born", number(1815.0)), ("gone", null())],
        )
        .await;
    assert_eq!(made.labels, ["A`b", "Person"]);
    let properties = fields([("name", text("Ada")), ("born", number(1815.0))]);
    assert_eq!(made.properties, Some(properties));
    assert_eq!(world.get(made.id).await, Some(made.clone()));
    let cypher = format!(
        "MATCH (n:Person:`A``b`:`{}`) RETURN n.born AS born",
        world.label()
    );
    assert_eq!(world.look::<i64>(&cypher, "born").await, [1815]);

    let mut update = pb::UpdateNodeRequest {
        metadata: world.metadata(),
        node_id: made.id,
        properties: Some(fields([("born", null()), ("field", text("mathematics"))])),
        ..Default::default()
    };
    let mut client = world.client.clone();
    let changed = client.update_node(update.clone()).await.unwrap().into_inner();
    let expected = fields([("name", text("Ada")), ("field", text("mathematics"))]);
    assert_eq!(changed.node.unwrap().properties, Some(expected));
    update.replace = Some(true);
    update.properties = Some(fields([("only", boolean(true))]));
    let changed = client.update_node(update.clone()).await.unwrap().into_inner();
    let node = changed.node.unwrap();
    assert_eq!(node.properties, Some(fields([("only", boolean(true))])));
    assert_eq!(node.labels, ["A`b", "Person"]);
    update.node_id = i64::MAX;
    refused(client.update_node(update).await, Code::NotFound, "node");

    let friend = world.create(&[], []).await;
    assert_eq!(friend.labels, [""; 0]);
    world.relate(made.id, "KNOWS", friend.id).await;
    let mut delete = pb::DeleteNodeRequest {
        metadata: world.metadata(),
        node_id: made.id,
        ..Default::default()
    };
    refused(
        client.delete_node(delete.clone()).await,
        Code::FailedPrecondition,
        "detach",
    );
    delete.detach = Some(true);
    let gone = client.delete_node(delete.clone()).await.unwrap().into_inner();
    assert_eq!((gone.success, gone.relationships_deleted), (true, 1));
    refused(client.delete_node(delete.clone()).await, Code::NotFound, "node");
    delete.node_id = friend.id;
    delete.detach = None;
    assert!(client.delete_node(delete).await.unwrap().into_inner().success);
    assert_eq!(world.count().await, 0);
    assert_eq!(world.get(made.id).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_said() {
    let world = World::start().await;
    for (labels, words) in [
        (vec![""], "labels: is empty"),
        (vec!["_isa_x"], "_isa_"),
        (vec!["a\\u0060b"], "\\u"),
        (vec!["a\0b"], "NUL"),
    ] {
        refused(world.try_create(&labels, []).await, Code::InvalidArgument, words);
    }
    refused(
        world.try_create(&["A"; 65], []).await,
        Code::InvalidArgument,
        "labels: are more than 64",
    );
    for (properties, words) in [
        ([("map", object([("a", number(1.0))]))], "properties.map"),
        ([("deep", list(vec![object([])]))], "properties.deep"),
        ([("@type", text("x"))], "properties.@type"),
        ([("big", number(1e300))], "properties.big"),
        ([("", text("x"))], "properties.: is empty"),
        ([("bad", typed("date", "tomorrow"))], "properties.bad.value"),
        ([("bad", typed("colour", "red"))], "properties.bad.@type"),
    ] {
        refused(
            world.try_create(&["A"], properties).await,
            Code::InvalidArgument,
            words,
        );
    }
    // Neo4j's own words: lists of one kind alone, and none in lists.
    for value in [
        list(vec![number(1.0), text("x")]),
        list(vec![list(vec![number(1.0)])]),
        list(vec![null()]),
    ] {
        let refusal = world.try_create(&["A"], [("p", value)]).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal:?}");
    }
    let request = pb::CreateNodeRequest {
        metadata: world.metadata(),
        database: Some("other".into()),
        ..Default::default()
    };
    refused(
        world.client.clone().create_node(request).await,
        Code::NotFound,
        "\"other\"",
    );
    assert_eq!(world.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_found_page_by_page() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let even = if n % 2 == 0 { text("even") } else { null() };
        ids.push(
            world
                .create(&["N"], [("n", number(n.into())), ("e`ven", even)])
                .await
                .id,
        );
    }
    world.create(&["Other"], []).await;
    ids.sort_unstable();
    let mut client = world.client.clone();
    let mut find = async |label: &str, properties: Struct, limit, skip| {
        let request = pb::FindNodesRequest {
            metadata: world.metadata(),
            label: Some(label.into()),
            properties: Some(properties),
            limit: Some(limit),
            skip: Some(skip),
            ..Default::default()
        };
        let found = client.find_nodes(request).await?.into_inner();
        let ids: Vec<i64> = found.nodes.iter().map(|node| node.id).collect();
        Ok::<_, Status>((ids, found.total_count))
    };
    assert_eq!(find("N", fields([]), 100, 0).await.unwrap(), (ids.clone(), 7));
    assert_eq!(find("N", fields([]), 3, 0).await.unwrap(), (ids[..3].to_vec(), 7));
    assert_eq!(find("N", fields([]), 3, 6).await.unwrap(), (ids[6..].to_vec(), 7));
    assert_eq!(find("N", fields([]), 3, 9).await.unwrap(), (vec![], 7));
    assert_eq!(find("", fields([]), 0, 0).await.unwrap().1, 8);
    assert_eq!(
        find("N", fields([("e`ven", text("even"))]), 0, 0)
            .await
            .unwrap()
            .1,
        4
    );
    assert_eq!(find("N", fields([("e`ven", null())]), 0, 0).await.unwrap().1, 3);
    let both = fields([("n", number(2.0)), ("e`ven", text("even"))]);
    assert_eq!(find("N", both, 0, 0).await.unwrap().1, 1);
    assert_eq!(find("Nothing", fields([]), 0, 0).await.unwrap(), (vec![], 0));
    refused(
        find("N", fields([]), 10_001, 0).await,
        Code::InvalidArgument,
        "limit",
    );
    refused(find("N", fields([]), -1, 0).await, Code::InvalidArgument, "limit");
    refused(find("N", fields([]), 1, -1).await, Code::InvalidArgument, "skip");
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_finds_or_makes() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let mut request = pb::MergeNodeRequest {
        metadata: world.metadata(),
        labels: texts(&["City"]),
        match_properties: Some(fields([("name", text("Ulm"))])),
        set_properties: Some(fields([("people", number(126_000.0))])),
        ..Default::default()
    };
    let made = client.merge_node(request.clone()).await.unwrap().into_inner();
    assert!(made.created);
    request.set_properties = Some(fields([("people", null()), ("river", text("Danube"))]));
    let found = client.merge_node(request.clone()).await.unwrap().into_inner();
    assert!(!found.created);
    let node = found.node.unwrap();
    assert_eq!(node.id, made.node.unwrap().id);
    assert_eq!(
        node.properties,
        Some(fields([("name", text("Ulm")), ("river", text("Danube"))]))
    );
    world.create(&["City"], [("name", text("Ulm"))]).await;
    request.set_properties = Some(fields([("river", text("Rhine"))]));
    refused(
        client.merge_node(request.clone()).await,
        Code::FailedPrecondition,
        "several",
    );
    let cypher = format!(
        "MATCH (n:`{}` {{river: 'Rhine'}}) RETURN count(n) AS count",
        world.label()
    );
    assert_eq!(world.look::<i64>(&cypher, "count").await, [0]);
    request.labels.clear();
    refused(
        client.merge_node(request.clone()).await,
        Code::InvalidArgument,
        "labels",
    );
    request.labels = texts(&["City"]);
    request.match_properties = None;
    refused(
        client.merge_node(request.clone()).await,
        Code::InvalidArgument,
        "match_properties",
    );
    request.match_properties = Some(fields([("name", null())]));
    refused(
        client.merge_node(request).await,
        Code::InvalidArgument,
        "match_properties.name",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relationship_is_made_read_changed_and_removed() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let (a, b) = (
        world.create(&["P"], []).await.id,
        world.create(&["P"], []).await.id,
    );
    let request = pb::CreateRelationshipRequest {
        metadata: world.metadata(),
        start_node_id: a,
        end_node_id: b,
        r#type: "KNO`WS".into(),
        properties: Some(fields([("since", typed("date", "1999-12-31"))])),
        ..Default::default()
    };
    let made = client
        .create_relationship(request.clone())
        .await
        .unwrap()
        .into_inner();
    let made = made.relationship.unwrap();
    assert_eq!(
        (made.start_node_id, made.end_node_id, made.r#type.as_str()),
        (a, b, "KNO`WS")
    );
    let cypher = format!(
        "MATCH (:`{0}`)-[r:`KNO``WS`]->(:`{0}`) RETURN toString(r.since) AS since",
        world.label()
    );
    assert_eq!(world.look::<String>(&cypher, "since").await, ["1999-12-31"]);
    let get = |id| pb::GetRelationshipRequest {
        metadata: world.metadata(),
        relationship_id: id,
        ..Default::default()
    };
    let got = client.get_relationship(get(made.id)).await.unwrap().into_inner();
    assert_eq!((got.found, got.relationship), (true, Some(made.clone())));
    let mut update = pb::UpdateRelationshipRequest {
        metadata: world.metadata(),
        relationship_id: made.id,
        properties: Some(fields([("since", null()), ("weight", number(0.5))])),
        ..Default::default()
    };
    let changed = client
        .update_relationship(update.clone())
        .await
        .unwrap()
        .into_inner();
    let expected = Some(fields([("weight", number(0.5))]));
    assert_eq!(changed.relationship.unwrap().properties, expected);
    update.replace = Some(true);
    update.properties = None;
    let changed = client
        .update_relationship(update.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(changed.relationship.unwrap().properties, Some(fields([])));

    for (start, end) in [(a, i64::MAX), (-1, b)] {
        let request = pb::CreateRelationshipRequest {
            start_node_id: start,
            end_node_id: end,
            ..request.clone()
        };
        refused(client.create_relationship(request).await, Code::NotFound, "node");
    }
    let untyped = pb::CreateRelationshipRequest {
        r#type: String::new(),
        ..request
    };
    refused(
        client.create_relationship(untyped).await,
        Code::InvalidArgument,
        "type",
    );

    let likes = world.relate(b, "LIKES", a).await;
    // In the order of ids, of which Neo4j gives out those again that became free.
    let mut kinds = [(made.id, "KNO`WS"), (likes.id, "LIKES")];
    kinds.sort_unstable();
    let kinds = kinds.map(|(_, kind)| kind);
    let find = async |request: pb::FindRelationshipsRequest| {
        let request = pb::FindRelationshipsRequest {
            metadata: world.metadata(),
            ..request
        };
        let found = world
            .client
            .clone()
            .find_relationships(request)
            .await
            .unwrap()
            .into_inner();
        let kinds: Vec<String> = found.relationships.into_iter().map(|r| r.r#type).collect();
        (kinds.join(" "), found.total_count)
    };
    let any = pb::FindRelationshipsRequest::default();
    assert_eq!(find(any.clone()).await, (kinds.join(" "), 2));
    let first = pb::FindRelationshipsRequest {
        limit: Some(1),
        ..any.clone()
    };
    assert_eq!(find(first).await, (kinds[0].into(), 2));
    let from = pb::FindRelationshipsRequest {
        start_node_id: Some(b),
        ..any.clone()
    };
    assert_eq!(find(from).await, ("LIKES".into(), 1));
    let to = pb::FindRelationshipsRequest {
        end_node_id: Some(b),
        r#type: Some("KNO`WS".into()),
        properties: Some(fields([("weight", null())])),
        ..any
    };
    assert_eq!(find(to).await, ("KNO`WS".into(), 1));

    let delete = pb::DeleteRelationshipRequest {
        metadata: world.metadata(),
        relationship_id: made.id,
        ..Default::default()
    };
    assert!(
        client
            .delete_relationship(delete.clone())
            .await
            .unwrap()
            .into_inner()
            .success
    );
    refused(
        client.delete_relationship(delete).await,
        Code::NotFound,
        "relationship",
    );
    refused(
        client.update_relationship(update).await,
        Code::NotFound,
        "relationship",
    );
    assert!(
        !client
            .get_relationship(get(made.id))
            .await
            .unwrap()
            .into_inner()
            .found
    );
}
