//! The two doors over one service, as the listener wants them.

use crate::config::Config;
use crate::server::body::{RequestBody, ResponseBody};
use crate::server::{Doors, Operation, boxed};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use millpond_service::Service;
use std::sync::Arc;

type Incomer = Request<RequestBody<Incoming>>;
type Answer = BoxFuture<'static, Response<ResponseBody>>;

/// The doors of this server.
pub struct ServiceDoors {
    s3: millpond_s3::Door,
    /// A closure, so that the router's own type stays behind the door.
    http: Box<dyn Fn(Incomer) -> Answer + Send + Sync>,
    s3_domains: Vec<String>,
    service: Arc<Service>,
}

impl ServiceDoors {
    /// Opens both doors.
    pub fn new(service: &Arc<Service>, config: &Config) -> Self {
        let options = millpond_http::Options {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            local_import_enabled: !config.local_import.is_empty(),
            secure_cookies: config.tls.is_some()
                || config.external_url.as_ref().is_some_and(|url| url.starts_with("https://")),
        };
        let router = TowerToHyperService::new(millpond_http::router(service.clone(), options));
        let http = move |request: Incomer| {
            let answer = router.call(request);
            async move {
                let Ok(mut response) = answer.await;
                if let Some(&millpond_http::OperationId(name)) = response.extensions().get() {
                    response.extensions_mut().insert(Operation(name));
                }
                boxed(response)
            }
            .boxed()
        };
        let options =
            millpond_s3::Options { domains: config.s3_domains.clone(), region: config.s3_region.clone() };
        Self {
            s3: millpond_s3::Door::new(service.clone(), options),
            http: Box::new(http),
            s3_domains: config.s3_domains.clone(),
            service: service.clone(),
        }
    }
}

impl Doors for ServiceDoors {
    fn is_s3(&self, head: &http::request::Parts) -> bool {
        millpond_s3::is_s3(&head.headers, &head.uri, &self.s3_domains)
    }
    fn is_health(&self, head: &http::request::Parts) -> bool {
        // Whoever asks whether the server lives must not be told that it is busy.
        [millpond_http::HEALTH_PATH, "/_health"].contains(&head.uri.path())
    }
    fn health(&self) -> Result<(), millpond_service::Error> {
        self.service.health()
    }
    fn unfoldable_branches(&self) -> usize {
        self.service.unfoldable_branches()
    }
    fn s3(&self, request: Incomer) -> Answer {
        let door = self.s3.clone();
        async move {
            let mut response = door.handle(request).await;
            if let Some(&millpond_s3::OperationName(name)) = response.extensions().get() {
                response.extensions_mut().insert(Operation(name));
            }
            response
        }
        .boxed()
    }
    fn http(&self, request: Incomer) -> Answer {
        (self.http)(request)
    }
}
