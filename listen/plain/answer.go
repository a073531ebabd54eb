package plain

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// AppendStart begins an answer's head: the status line, and Date.
func AppendStart(b []byte, status int, now time.Time) []byte {
	switch d := datedAt(now); status {
	case http.StatusOK:
		return append(b, d.ok...)
	case http.StatusNotFound:
		return append(b, d.notFound...)
	default:
		return appendStart(b, status, d.date)
	}
}

// Date is the time as HTTP writes it.
func Date(now time.Time) string { return datedAt(now).date }

// A dated second: as HTTP writes it, and as the heads begin that most answers have.
type dated struct {
	second             int64
	date, ok, notFound string
}

var lastDate atomic.Pointer[dated]

func datedAt(now time.Time) *dated {
	d := lastDate.Load()
	if second := now.Unix(); d == nil || d.second != second {
		date := now.UTC().Format(http.TimeFormat)
		d = &dated{second, date, string(appendStart(nil, http.StatusOK, date)), string(appendStart(nil, http.StatusNotFound, date))}
		lastDate.Store(d)
	}
	return d
}

func appendStart(b []byte, status int, date string) []byte {
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(status), 10)
	b = append(append(append(b, ' '), http.StatusText(status)...), "\r\nDate: "...)
	return append(append(b, date...), "\r\n"...)
}
