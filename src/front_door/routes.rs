//! Which request is meant, by its method and path alone. Pure.

/// The events that Evolution API 2.3.6 appends to a URL (`byEvents`), in the spelling of its paths.
/// What is none of them is the name of an instance.
const EVENTS: [&str; 34] = [
    "application-startup",
    "instance-create",
    "instance-delete",
    "qrcode-updated",
    "connection-update",
    "status-instance",
    "messages-set",
    "messages-upsert",
    "messages-edited",
    "messages-update",
    "messages-delete",
    "send-message",
    "send-message-update",
    "contacts-set",
    "contacts-upsert",
    "contacts-update",
    "presence-update",
    "chats-set",
    "chats-update",
    "chats-upsert",
    "chats-delete",
    "groups-upsert",
    "groups-update",
    "group-update",
    "group-participants-update",
    "call",
    "typebot-start",
    "typebot-change-status",
    "labels-edit",
    "labels-association",
    "creds-update",
    "messaging-history-set",
    "remove-instance",
    "logout-instance",
];

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The instance that the path names. The body's own counts; they must not differ.
    Webhook {
        instance: Option<String>,
    },
    Health,
    Metrics,
    NotFound,
    WrongMethod {
        allowed: &'static str,
    },
}

/// `path` is as it stands in the request line, still percent-encoded, without the query.
pub fn route(method: &str, path: &str) -> Route {
    let (allowed, route) = match resource(path) {
        Some(Route::Webhook { instance }) => ("POST", Route::Webhook { instance }),
        Some(route) => ("GET, HEAD", route),
        None => return Route::NotFound,
    };
    if allowed.split(", ").any(|one| one == method) {
        route
    } else {
        Route::WrongMethod { allowed }
    }
}

fn resource(path: &str) -> Option<Route> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["healthz"] => Some(Route::Health),
        ["metrics"] => Some(Route::Metrics),
        ["webhook"] => Some(Route::Webhook { instance: None }),
        ["webhook", event] if is_event(event) => Some(Route::Webhook { instance: None }),
        ["webhook", instance] => Some(Route::Webhook { instance: Some(decoded(instance)) }),
        ["webhook", instance, event] if is_event(event) => {
            Some(Route::Webhook { instance: Some(decoded(instance)) })
        }
        _ => None,
    }
}

fn is_event(part: &str) -> bool {
    EVENTS.contains(&part)
}

fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(instance: Option<&str>) -> Route {
        Route::Webhook { instance: instance.map(str::to_owned) }
    }

    #[test]
    fn a_webhook_may_name_its_instance_its_event_or_both() {
        for (path, instance) in [
            ("/webhook", None),
            ("/webhook/", None),
            ("/webhook/messages-upsert", None),
            ("/webhook/group-participants-update", None),
            ("/webhook/call", None),
            ("/webhook/loja", Some("loja")),
            ("/webhook/loja/send-message", Some("loja")),
            ("/webhook/Loja%20do%20Jo%C3%A3o/messages-upsert", Some("Loja do João")),
            ("/webhook/messages-upsert/messages-upsert", Some("messages-upsert")),
        ] {
            assert_eq!(route("POST", path), webhook(instance), "{path}");
        }
    }

    #[test]
    fn whatever_is_no_webhook_health_or_metrics_is_not_found() {
        for path in
            ["/", "/webhooks", "/webhook/loja/other", "/webhook/a/b/call", "/metrics/x", "*"]
        {
            assert_eq!(route("POST", path), Route::NotFound, "{path}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_which_ones_are_right() {
        assert_eq!(route("GET", "/webhook/a"), Route::WrongMethod { allowed: "POST" });
        assert_eq!(route("POST", "/healthz"), Route::WrongMethod { allowed: "GET, HEAD" });
        assert_eq!(route("GET", "/healthz"), Route::Health);
        assert_eq!(route("HEAD", "/metrics"), Route::Metrics);
    }
}
