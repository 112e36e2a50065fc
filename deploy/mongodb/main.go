// A server of MongoDB's protocol for one machine: FerretDB over SQLite, kept in a folder.
//
// Built by deploy/install.sh, which has FerretDB use its own index of `_id` (see there).
//
// mongodb PORT FOLDER listens on 127.0.0.1 until it is told to end (SIGTERM, SIGINT).
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mongodb:", err)
		os.Exit(1)
	}
}

func serve(arguments []string) error {
	if len(arguments) != 2 {
		return fmt.Errorf("usage: mongodb PORT FOLDER")
	}
	if err := os.MkdirAll(arguments[1], 0o700); err != nil {
		return err
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	// In SQLite's write-ahead log, so that a kill loses nothing; a power cut may lose the last moment. Read models are built anew from events, and
	// without it each change would wait for the disk.
	pragma := "?_pragma=synchronous(normal)"
	server, err := ferretdb.New(&ferretdb.Config{
		Logger:    quiet,
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:" + arguments[0]},
		Handler:   "sqlite",
		SQLiteURL: "file:" + arguments[1] + "/" + pragma,
	})
	if err != nil {
		return err
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return server.Run(ended)
}
