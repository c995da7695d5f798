package chaos

import (
	"net/http"
	"time"

	"llmcall/internal/protocol"
)

// models are those of the lists of models. The server answers any other too.
var models = []protocol.Model{
	{ID: "practice", Name: "Practice", Created: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)},
	{ID: "practice-small", Name: "Practice small", Created: time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC)},
	{ID: "practice-embedding", Name: "Practice embedding", Created: time.Date(2025, 1, 3, 0, 0, 0, 0, time.UTC), Embeds: true},
}

// modelOf returns the model of an identifier.
func modelOf(id string) protocol.Model {
	for _, m := range models {
		if m.ID == id {
			return m
		}
	}
	return protocol.Model{ID: id, Name: id, Created: models[0].Created}
}

// lookUp answers a request that is not for an answer or a vector: it takes no step of the
// plan, and does not count toward a limit.
func (s *Server) lookUp(rec *Recorded, provider face, to protocol.Endpoint, call *protocol.Incoming) reply {
	body, refused := s.found(rec.Method, provider, to, call)
	if refused != nil {
		return s.refuse(rec, provider, refused)
	}
	id, _ := s.record(rec, http.StatusOK, nil)
	rp := jsonReply(http.StatusOK, provider.Header(id), body)
	rp.provider, rp.ending = provider, answered
	return rp
}

func (s *Server) found(method string, provider face, to protocol.Endpoint, call *protocol.Incoming) ([]byte, *protocol.Error) {
	switch to.For {
	case protocol.ModelList:
		return provider.ModelList(models, call.Query)
	case protocol.ModelInfo:
		return provider.ModelInfo(modelOf(to.Name)), nil
	case protocol.KeptAnswer:
		if method != http.MethodDelete {
			return protocol.Responses{}.Fetch(call, to.Name, s.kept.ready(to.Name, time.Now()))
		}
		body, refused := protocol.Responses{}.Deleted(call, to.Name)
		if refused == nil {
			s.kept.remove(to.Name)
		}
		return body, refused
	case protocol.EndAnswer:
		body, keep, refused := protocol.Responses{}.Cancel(call, to.Name, s.kept.ready(to.Name, time.Now()))
		if refused == nil {
			s.kept.replace(to.Name, keptAnswer{text: keep})
		}
		return body, refused
	}
	counter := to.Protocol.(protocol.Counter) // so At promises
	read, refused := counter.ReadCount(call)
	if refused != nil {
		return nil, refused
	}
	return counter.Count((&request{Request: read, face: provider}).promptTokens()), nil
}
