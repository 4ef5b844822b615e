// What a plain collector in Go does: net/http, encoding/json and mattn/go-sqlite3, with the durability of outputd (WAL,
// synchronous FULL). All POSTs that wait are one transaction. No checks, no hops, no keys, no rotation.
package main

import (
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

const mostPosts = 256

type hop struct {
	TTL     int    `json:"ttl"`
	IP      string `json:"ip"`
	RTT     int64  `json:"rtt"`
	Timeout bool   `json:"timeout"`
}

type traceroute struct {
	Method    string `json:"method"`
	Completed bool   `json:"completed"`
	Error     string `json:"error"`
	Hops      []hop  `json:"hops"`
}

type result struct {
	IP         string      `json:"ip"`
	Sent       int         `json:"sent"`
	Received   int         `json:"received"`
	PacketLoss float64     `json:"packet_loss"`
	AvgRTT     int64       `json:"avg_rtt"`
	Timestamp  time.Time   `json:"timestamp"`
	Error      string      `json:"error"`
	Traceroute *traceroute `json:"traceroute"`
}

type post struct {
	results []result
	done    chan error
}

// store keeps batches: one prepared statement a table.
type store struct {
	db                *sql.DB
	ping, trace, hops *sql.Stmt
}

func open(dir, schema string) (*store, error) {
	path := filepath.Join(dir, "results.db")
	db, err := sql.Open("sqlite3", "file:"+path+"?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	text, err := os.ReadFile(schema)
	if err != nil {
		return nil, err
	}
	if _, err = db.Exec(string(text)); err != nil {
		return nil, err
	}
	s := &store{db: db}
	for query, statement := range map[string]**sql.Stmt{
		`INSERT INTO ping_results (ip, sent, received, packet_loss, avg_rtt, timestamp, error) VALUES (?,?,?,?,?,?,?)`: &s.ping,
		`INSERT INTO traceroute_results (ping_result_id, method, completed, error) VALUES (?,?,?,?)`:                   &s.trace,
		`INSERT INTO traceroute_hops (traceroute_id, ttl, ip, rtt, timeout) VALUES (?,?,?,?,?)`:                        &s.hops,
	} {
		if *statement, err = db.Prepare(query); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func null(s string) interface{} {
	if s == "" {
		return nil
	}
	return s
}

// write commits all the posts, or none.
func (s *store) write(posts []post) error {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	ping, trace, hops := tx.Stmt(s.ping), tx.Stmt(s.trace), tx.Stmt(s.hops)
	for _, p := range posts {
		for _, r := range p.results {
			row, err := ping.Exec(r.IP, r.Sent, r.Received, r.PacketLoss, r.AvgRTT, r.Timestamp, null(r.Error))
			if err != nil {
				return err
			}
			if r.Traceroute == nil {
				continue
			}
			id, _ := row.LastInsertId()
			row, err = trace.Exec(id, r.Traceroute.Method, r.Traceroute.Completed, null(r.Traceroute.Error))
			if err != nil {
				return err
			}
			id, _ = row.LastInsertId()
			for _, h := range r.Traceroute.Hops {
				if _, err = hops.Exec(id, h.TTL, null(h.IP), h.RTT, h.Timeout); err != nil {
					return err
				}
			}
		}
	}
	return tx.Commit()
}

// gather writes whatever waits as one transaction, again and again.
func gather(s *store, queue <-chan post) {
	for first := range queue {
		group := []post{first}
		for len(group) < mostPosts && len(queue) > 0 {
			group = append(group, <-queue)
		}
		err := s.write(group)
		for _, p := range group {
			p.done <- err
		}
	}
}

func main() {
	port := flag.Int("port", 8081, "")
	dir := flag.String("dir", ".", "")
	schema := flag.String("schema", "schema.sql", "")
	flag.Parse()
	s, err := open(*dir, *schema)
	if err != nil {
		log.Fatal(err)
	}
	queue := make(chan post, mostPosts)
	go gather(s, queue)
	http.HandleFunc("/results", func(w http.ResponseWriter, r *http.Request) {
		var results []result
		if err := json.NewDecoder(r.Body).Decode(&results); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p := post{results, make(chan error, 1)}
		queue <- p
		if err := <-p.done; err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]interface{}{"status": "ok", "received": len(results)})
	})
	log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *port), nil))
}
