package main

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// finalizer keeps a Widget until its ConfigMap is gone.
const finalizer = "peers.fluvial.dev/widget"

// owner is the field manager of what this controller applies.
const owner = client.FieldOwner("widgets")

type reconciler struct {
	client.Client
	recorder events.EventRecorder
}

func (r *reconciler) setUp(manager ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(manager).
		For(&Widget{}).
		Owns(&corev1.ConfigMap{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}).
		Complete(r)
}

// Reconcile makes the ConfigMap that one Widget asks for, or removes it.
func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var widget Widget
	if err := r.Get(ctx, request.NamespacedName, &widget); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !widget.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.remove(ctx, &widget)
	}
	if !controllerutil.ContainsFinalizer(&widget, finalizer) {
		before := widget.DeepCopyObject().(client.Object)
		controllerutil.AddFinalizer(&widget, finalizer)
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := r.Patch(ctx, &widget, patch, owner); err != nil {
			return ctrl.Result{}, fmt.Errorf("finalizer: %w", err)
		}
	}
	if err := r.Apply(ctx, wanted(&widget), owner, client.ForceOwnership); err != nil {
		return ctrl.Result{}, fmt.Errorf("apply: %w", err)
	}
	return ctrl.Result{}, r.report(ctx, &widget)
}

// wanted is the ConfigMap of a Widget.
func wanted(widget *Widget) *corev1ac.ConfigMapApplyConfiguration {
	reference := metav1ac.OwnerReference().
		WithAPIVersion(groupVersion.String()).
		WithKind("Widget").
		WithName(widget.Name).
		WithUID(widget.UID).
		WithController(true).
		WithBlockOwnerDeletion(true)
	return corev1ac.ConfigMap(widget.Name, widget.Namespace).
		WithOwnerReferences(reference).
		WithLabels(map[string]string{"peers.fluvial.dev/widget": widget.Name}).
		WithData(map[string]string{
			"size":   strconv.FormatInt(widget.Spec.Size, 10),
			"colour": widget.Spec.Colour,
		})
}

// report writes the status, and an event if something is new in it.
func (r *reconciler) report(ctx context.Context, widget *Widget) error {
	before := widget.DeepCopyObject().(client.Object)
	widget.Status.Size = widget.Spec.Size
	widget.Status.ObservedGeneration = widget.Generation
	changed := meta.SetStatusCondition(&widget.Status.Conditions, metav1.Condition{
		Type:               "Ready",
		Status:             metav1.ConditionTrue,
		Reason:             "Applied",
		Message:            fmt.Sprintf("ConfigMap of size %d", widget.Spec.Size),
		ObservedGeneration: widget.Generation,
	})
	if !changed {
		return nil
	}
	if err := r.Status().Patch(ctx, widget, client.MergeFrom(before), owner); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	r.recorder.Eventf(widget, nil, corev1.EventTypeNormal, "Applied", "Apply", "ConfigMap of size %d", widget.Spec.Size)
	return nil
}

// remove deletes the ConfigMap, and lets the Widget go when it is known to be gone.
func (r *reconciler) remove(ctx context.Context, widget *Widget) error {
	if !controllerutil.ContainsFinalizer(widget, finalizer) {
		return nil
	}
	var made corev1.ConfigMap
	err := r.Get(ctx, client.ObjectKeyFromObject(widget), &made)
	switch {
	case err == nil:
		// The deletion is seen by the watch, which brings this Widget up again.
		uid := made.UID
		condition := client.Preconditions{UID: &uid}
		return client.IgnoreNotFound(r.Delete(ctx, &made, condition))
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("look: %w", err)
	}
	before := widget.DeepCopyObject().(client.Object)
	controllerutil.RemoveFinalizer(widget, finalizer)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return client.IgnoreNotFound(r.Patch(ctx, widget, patch, owner))
}
