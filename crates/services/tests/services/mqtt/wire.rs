//! The way to the broker, which a test can cut.

use std::sync::Arc;

use isa_config::Endpoint;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use url::Url;

/// Passes connections on to the broker while it is whole.
pub(super) struct Wire {
    pub(super) endpoint: Endpoint,
    is_whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Wire {
    pub(super) async fn to(engine: &Endpoint) -> Self {
        let url = Url::parse(&engine.url).expect("an address");
        let target = format!(
            "{}:{}",
            url.host_str().expect("a host"),
            url.port().expect("a port")
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut endpoint = engine.clone();
        endpoint.url = format!("mqtt://{}", listener.local_addr().expect("an address"));
        let (is_whole, state) = watch::channel(true);
        let target = Arc::new(target);
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut state, target) = (state.clone(), Arc::clone(&target));
                tokio::spawn(async move {
                    if !*state.borrow_and_update() {
                        return;
                    }
                    let mut far = TcpStream::connect(target.as_str()).await.expect("the broker");
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.changed() => {}
                    }
                });
            }
        });
        Self {
            endpoint,
            is_whole,
            task,
        }
    }

    /// Ends all connections, and lets none be made.
    pub(super) fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    pub(super) fn mend(&self) {
        self.is_whole.send_replace(true);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}
