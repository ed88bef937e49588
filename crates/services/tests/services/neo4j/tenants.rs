//! Two tenants of an open server see nothing of each other by structured calls. (`tests/contract` tries every method.)

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_finds_nothing() {
    let world = World::start().await;
    let other = World::start().await;
    let chain = world.chain(3).await;
    let theirs = other.create(&["Link"], [("at", number(0.0))]).await.id;
    assert_eq!(other.get(chain[0]).await, None);
    let mut client = other.client.clone();
    let request = pb::UpdateNodeRequest {
        metadata: other.metadata(),
        node_id: chain[0],
        properties: Some(fields([("at", text("stolen"))])),
        ..Default::default()
    };
    refused(client.update_node(request).await, Code::NotFound, "node");
    let request = pb::DeleteNodeRequest {
        metadata: other.metadata(),
        node_id: chain[0],
        detach: Some(true),
        ..Default::default()
    };
    refused(client.delete_node(request).await, Code::NotFound, "node");
    let request = pb::CreateRelationshipRequest {
        metadata: other.metadata(),
        start_node_id: theirs,
        end_node_id: chain[0],
        r#type: "INTO".into(),
        ..Default::default()
    };
    refused(client.create_relationship(request).await, Code::NotFound, "node");
    // Such a relationship, made by raw Cypher, is nobody's.
    world
        .cypher(
            "MATCH (a) WHERE id(a) = $a MATCH (b) WHERE id(b) = $b CREATE (a)-[:CROSS]->(b)",
            [("a", number(theirs as f64)), ("b", number(chain[0] as f64))],
        )
        .await
        .unwrap();
    for world in [&world, &other] {
        let request = pb::FindRelationshipsRequest {
            metadata: world.metadata(),
            r#type: Some("CROSS".into()),
            ..Default::default()
        };
        let found = client.find_relationships(request).await.unwrap().into_inner();
        assert_eq!((found.relationships.len(), found.total_count), (0, 0));
    }
    let request = pb::PageRankRequest {
        metadata: other.metadata(),
        ..Default::default()
    };
    let scores = client.page_rank(request).await.unwrap().into_inner().scores;
    assert_eq!(scores.into_keys().collect::<Vec<_>>(), [theirs]);
    assert_eq!(world.count().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_raw_cypher_made_has_no_tenant() {
    let world = World::start().await;
    let made = world
        .cypher("CREATE (n:Link) RETURN id(n) AS id", [])
        .await
        .unwrap();
    let Some(Kind::NumberValue(id)) = made.rows[0].fields["id"].kind else {
        panic!("no id");
    };
    assert_eq!(world.get(id as i64).await, None);
    world
        .cypher("MATCH (n) WHERE id(n) = $id DELETE n", [("id", number(id))])
        .await
        .unwrap();
    // And what structured calls make has its plain label for Cypher.
    let node = world.create(&["Plain"], [("mark", text(&world.user))]).await;
    let found = world
        .value(
            "MATCH (n:Plain {mark: $mark}) RETURN id(n)",
            [("mark", text(&world.user))],
        )
        .await;
    assert_eq!(found, number(node.id as f64));
}
