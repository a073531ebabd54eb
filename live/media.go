package live

// A MediaType says what kind of samples a rendition carries.
type MediaType string

// The media types.
const (
	Video MediaType = "video"
	Audio MediaType = "audio"
	Text  MediaType = "text" // wvtt or stpp
)
