package packager

import (
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// A segment is one init or media segment on its way from source to sender. Its
// bytes never change once it is made.
type segment struct {
	rendition string
	init      bool
	number    live.Number // media only
	data      []byte
	digest    live.Digest
	findings  live.Findings // found by inspection
	defects   live.Findings // of those, what Live-Defects says

	track    *cmaf.Track // what the rendition's init segment says, after rewriting
	complete time.Time   // when its last byte left the source
}

func (s *segment) path(id live.EventID, pipeline string) live.PublishPath {
	p := live.PublishPath{Event: id, Pipeline: pipeline, Rendition: s.rendition, File: live.FileSegment, Number: s.number}
	if s.init {
		p.File = live.FileInit
	}
	return p
}

// name is what logs call it.
func (s *segment) name() string {
	if s.init {
		return live.InitName
	}
	return live.SegmentName(s.number)
}

// contentType is the media type of RFC 4337 and RFC 6381.
func (s *segment) contentType() string {
	switch s.track.Type {
	case live.Audio:
		return "audio/mp4"
	case live.Text:
		return "application/mp4"
	}
	return "video/mp4"
}
