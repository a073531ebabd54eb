package live

import (
	"time"
)

// The problems. Publish:
var (
	ErrBadPath        = &Problem{Code: "bad-path", Status: 400, Title: "The path is not of the published form", Lifetime: time.Minute}
	ErrMalformedMedia = &Problem{Code: "malformed-media", Status: 400, Title: "The media is malformed", Lifetime: -1}
	ErrBadHeader      = &Problem{Code: "bad-header", Status: 400, Title: "A header is malformed", Lifetime: -1}
	ErrDigest         = &Problem{Code: "digest-mismatch", Status: 400, Title: "The body is not what was digested", Lifetime: -1}
	ErrFuture         = &Problem{Code: "number-in-future", Status: 400, Title: "The segment cannot have been filmed yet", Lifetime: -1}
	ErrIncomplete     = &Problem{Code: "incomplete-body", Status: 400, Title: "The body ended early", Lifetime: -1}
	ErrUnauthorized   = &Problem{Code: "unauthorized", Status: 401, Title: "Credentials are missing or unknown", Lifetime: -1}
	ErrForbidden      = &Problem{Code: "forbidden", Status: 403, Title: "These credentials do not allow this", Lifetime: -1}
	ErrNoPipeline     = &Problem{Code: "no-such-pipeline", Status: 404, Title: "The event has no such pipeline", Lifetime: -1}
	ErrOutside        = &Problem{Code: "outside-event", Status: 404, Title: "The event has no such segment", Lifetime: -1}
	ErrTimeout        = &Problem{Code: "body-timeout", Status: 408, Title: "The body took too long", Lifetime: -1}
	ErrConflict       = &Problem{Code: "conflict", Status: 409, Title: "Other bytes are already published", Lifetime: -1}
	ErrInitMissing    = &Problem{Code: "init-missing", Status: 412, Title: "The init segment is missing", Lifetime: -1}
	ErrInitDiffers    = &Problem{Code: "init-differs", Status: 412, Title: "The media does not fit the init segment", Lifetime: -1}
	ErrGeneration     = &Problem{Code: "other-generation", Status: 409, Title: "The pipeline's init segment is of another generation", Lifetime: -1}
	ErrTooLarge       = &Problem{Code: "too-large", Status: 413, Title: "The body is too large", Lifetime: -1}
	ErrNotCMAF        = &Problem{Code: "not-cmaf", Status: 415, Title: "The body is not CMAF", Lifetime: -1}
	ErrRate           = &Problem{Code: "publish-rate", Status: 429, Title: "The tenant publishes more than it may", Lifetime: -1, RetryAfter: time.Second}
	ErrTenantFull     = &Problem{Code: "tenant-full", Status: 507, Title: "The tenant has as much stored as it may have", Lifetime: -1, RetryAfter: 5 * time.Second}
	ErrNotStored      = &Problem{Code: "not-stored", Status: 503, Title: "The segment was not stored, try again", Lifetime: -1, RetryAfter: time.Second}
)

// Deliver, and some of them publish and control too:
var (
	ErrToken       = &Problem{Code: "token-refused", Status: 403, Title: "A token is needed that opens this", Lifetime: -1}
	ErrNotHere     = &Problem{Code: "not-found", Status: 404, Title: "There is nothing of that name", Lifetime: time.Minute}
	ErrNoEvent     = &Problem{Code: "no-such-event", Status: 404, Title: "There is no such event", Lifetime: 2 * time.Second}
	ErrNoTenant    = &Problem{Code: "no-such-tenant", Status: 404, Title: "There is no event of such a tenant", Lifetime: 2 * time.Second}
	ErrNoRendition = &Problem{Code: "no-such-rendition", Status: 404, Title: "The event has no such rendition", Lifetime: time.Minute}
	ErrNoKeyFrame  = &Problem{Code: "no-key-frame", Status: 404, Title: "The rendition's key frames are not to be had alone", Lifetime: 10 * time.Second}
	ErrNever       = &Problem{Code: "never", Status: 404, Title: "The event never has that segment", Lifetime: time.Hour}
	ErrEarly       = &Problem{Code: "early", Status: 404, Title: "The segment cannot exist yet"}
	ErrNoInit      = &Problem{Code: "no-init", Status: 404, Title: "The init segment has not been published yet", Lifetime: time.Second}
	ErrMethod      = &Problem{Code: "method-not-allowed", Status: 405, Title: "The method is not for this URL", Lifetime: time.Minute}
	ErrLost        = &Problem{Code: "lost", Status: 410, Title: "The segment was not published in time"}
	ErrGone        = &Problem{Code: "gone", Status: 410, Title: "The segment has left the DVR window", Lifetime: time.Hour}
	ErrShed        = &Problem{Code: "overloaded", Status: 503, Title: "Too many requests of this class", Lifetime: 5 * time.Second, RetryAfter: 5 * time.Second}
	ErrStoreDown   = &Problem{Code: "store-unavailable", Status: 503, Title: "The store does not answer", Lifetime: time.Second, RetryAfter: time.Second}
	ErrDraining    = &Problem{Code: "draining", Status: 503, Title: "This server is about to stop", Lifetime: -1, RetryAfter: time.Second}
	ErrUpstream    = &Problem{Code: "upstream-unavailable", Status: 503, Title: "No origin answers", Lifetime: time.Second, RetryAfter: time.Second}
	ErrInternal    = &Problem{Code: "internal", Status: 500, Title: "Something went wrong here", Lifetime: -1}
	ErrLoop        = &Problem{Code: "loop", Status: 508, Title: "The parents of this edge ask this edge", Lifetime: -1}
)

// Control:
var (
	ErrBadEvent   = &Problem{Code: "bad-event", Status: 400, Title: "The event configuration is not valid", Lifetime: -1}
	ErrStarted    = &Problem{Code: "event-started", Status: 409, Title: "Segments are already published on the old timeline", Lifetime: -1}
	ErrInUse      = &Problem{Code: "in-use", Status: 409, Title: "What is published would be dropped", Lifetime: -1}
	ErrBlackout   = &Problem{Code: "blackout", Status: 409, Title: "Viewers would be left with nothing", Lifetime: -1}
	ErrQuota      = &Problem{Code: "quota", Status: 403, Title: "The tenant has as many as it may have", Lifetime: -1}
	ErrNotJSON    = &Problem{Code: "not-json", Status: 415, Title: "The body is not JSON", Lifetime: -1}
	ErrBadRequest = &Problem{Code: "bad-request", Status: 400, Title: "The request is not valid", Lifetime: -1}
)

// Problems lists every problem, for the documentation's test.
var Problems = []*Problem{
	ErrBadPath, ErrMalformedMedia, ErrBadHeader, ErrDigest, ErrFuture, ErrIncomplete, ErrUnauthorized, ErrForbidden,
	ErrNoPipeline, ErrOutside, ErrTimeout, ErrConflict, ErrInitMissing, ErrInitDiffers, ErrGeneration, ErrTooLarge, ErrNotCMAF, ErrRate, ErrTenantFull, ErrNotStored,
	ErrToken, ErrNotHere, ErrNoEvent, ErrNoTenant, ErrNoRendition, ErrNoKeyFrame, ErrNever, ErrEarly, ErrNoInit, ErrMethod, ErrLost, ErrGone, ErrShed, ErrStoreDown,
	ErrDraining, ErrUpstream, ErrInternal, ErrLoop, ErrBadEvent, ErrStarted, ErrInUse, ErrBlackout, ErrQuota, ErrNotJSON, ErrBadRequest,
}
