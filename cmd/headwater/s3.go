package main

import (
	"context"
	"fmt"

	"headwater/store"
	"headwater/store/s3"
)

// openS3 opens the store in a bucket. Its credentials are the environment's.
func openS3(flag string, a store.Address, o opening) (*s3.Store, error) {
	opt, err := s3.FromAddress(a)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	opt.Now, opt.Log = o.now, o.log
	st, err := s3.Open(opt)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	return st, nil
}

func initS3(ctx context.Context, env *environment, a store.Address) error {
	st, err := openS3("store", a, opening{})
	if err != nil {
		return err
	}
	defer st.Close()
	created, err := st.Init(ctx)
	if err != nil {
		return err
	}
	if created {
		fmt.Fprintf(env.stdout, "bucket %s is created\n", a.Hosts[0])
	} else {
		fmt.Fprintf(env.stdout, "bucket %s is there\n", a.Hosts[0])
	}
	return nil
}
