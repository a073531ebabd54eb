# Varnish as an edge of a Headwater origin, or as the layer in front of an edge.
# Read README.md beside it first.
vcl 4.1;

import std;
include "parents.vcl";

sub vcl_recv {
    # Delivery asks for no cookie and no secret.
    unset req.http.Cookie;
    unset req.http.Authorization;
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    # Held, or never twice the same.
    if (req.url ~ "^/time(\?|$)" || req.url ~ "^/[^/?]+/[^/?]+/event\.json\?(.*&)?after=[^&]") {
        return (pass);
    }
    # Query strings mean nothing otherwise.
    set req.url = regsub(req.url, "\?.*$", "");
    return (hash);
}

# The host means nothing either.
sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_response {
    # Nothing is served past its lifetime: no grace, and none of Varnish's own
    # default for answers without one.
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (bereq.uncacheable) {
        return (deliver);
    }
    if (beresp.http.Cache-Control ~ "(?i)no-store|no-cache|private" || beresp.http.Cache-Control !~ "(?i)max-age") {
        set beresp.ttl = 0s;
    } elsif (beresp.http.Cache-Control ~ "(?i)(^|[ ,])max-age-ms=[0-9]{1,11}($|[ ,])") {
        set beresp.ttl = std.duration(
            regsub(beresp.http.Cache-Control, "(?i)^(.*[ ,])?max-age-ms=([0-9]+).*$", "\2") + "ms", 0s) - beresp.age;
    } else {
        # Varnish itself would not do so for 503.
        set beresp.ttl = std.duration(
            regsub(beresp.http.Cache-Control, "(?i)^(.*[ ,])?max-age=([0-9]+).*$", "\2") + "s", 0s) - beresp.age;
    }
    if (beresp.status == 404) {
        # How long it was under way (RFC 9111, 4.2.3): a segment that cannot be
        # yet is asked for when it can be, however far the parent is. Of what was
        # held the time would be the hold's.
        set beresp.ttl = beresp.ttl - (beresp.time - bereq.time);
    }
    if (beresp.ttl <= 0s) {
        # Everybody who waits for this gets an answer of their own, but not who
        # comes later: by then a segment may be due, and one request is to be
        # held for all.
        set beresp.ttl = 10ms;
        set beresp.uncacheable = true;
    }
    return (deliver);
}

# No parent answers. For a second nobody else tries.
sub vcl_backend_error {
    set beresp.status = 503;
    set beresp.ttl = 1s;
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    set beresp.http.Access-Control-Allow-Origin = "*";
    set beresp.http.Content-Type = "application/problem+json";
    set beresp.http.Cache-Control = "max-age=1, max-age-ms=1000";
    set beresp.http.Retry-After = "1";
    set beresp.body = """{"type":"urn:headwater:problem:upstream-unavailable","title":"No origin answers","status":503,"detail":"Varnish reaches no parent"}
""";
    return (deliver);
}

sub vcl_deliver {
    unset resp.http.X-Varnish;
    if (!obj.uncacheable && obj.ttl > 0s) {
        # Age goes out in whole seconds, rounded. The directives are made such
        # that what is left of them less Age is right to the millisecond. One less,
        # as Varnish rounds what it prints.
        set resp.http.Cache-Control =
            "max-age=" + (std.integer(regsub("" + (obj.ttl - 1ms), "\..*$", ""), 0) + std.integer(resp.http.Age, 0)) +
            ", max-age-ms=" + (std.integer(regsub("" + (obj.ttl - 1ms) * 1000, "\..*$", ""), 0) + std.integer(resp.http.Age, 0) * 1000);
    }
    if (obj.hits > 0) {
        set resp.http.Cache-Status = "varnish;hit";
    }
    if (req.http.Range && resp.http.Content-Digest) {
        # Content-Digest is that of what is sent; of a part we have the whole's
        # (RFC 9530, 2 and 3).
        set resp.http.Repr-Digest = resp.http.Content-Digest;
        unset resp.http.Content-Digest;
    }
}
