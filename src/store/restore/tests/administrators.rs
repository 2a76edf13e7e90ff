//! One active administrator remains of a customer, and rights are told that are given back and taken away.

use super::*;

/// Makes `edit` of the user.
async fn edit(world: &World, id: UserId, edit: impl FnOnce(&mut UserRecord)) {
    let mut change = world.store.mutate().await.unwrap();
    let mut user = change.user_by_id(id).await.unwrap().unwrap();
    edit(&mut user);
    change.update_user(&user).await.unwrap();
    change.commit().await.unwrap();
}

#[tokio::test]
async fn a_customer_keeps_the_administrator_of_now_where_the_one_of_then_is_gone() {
    for was_active in [true, false] {
        let world = World::new().await;
        edit(&world, world.alex, |alex| alex.active = was_active).await;
        world.back_up().await;
        edit(&world, world.alex, |alex| (alex.administrator, alex.active) = (true, true)).await;
        let mut change = world.store.mutate().await.unwrap();
        change.delete_user(world.bo, NOW).await.unwrap();
        change.append_audit(&[entry("user.deleted", "acme/bo", Some(world.bo))], &KEY).await.unwrap();
        change.commit().await.unwrap();
        let found = world.restore(Revival::Refused).await.differences;
        let expected =
            [DifferenceKind::UserDeleted, DifferenceKind::KeyDeleted, DifferenceKind::AdministratorKept];
        assert_eq!(kinds(&found), expected);
        let alex = world.user(world.alex).await;
        assert!(alex.administrator && alex.active);
        // With the one of then, everything is as it was.
        world.restore(Revival::Accepted).await;
        let alex = world.user(world.alex).await;
        assert_eq!((alex.administrator, alex.active), (false, was_active));
        assert!(world.user(world.bo).await.administrator);
    }
}

#[tokio::test]
async fn rights_that_were_given_since_are_told_as_well_as_those_that_were_taken() {
    let world = World::new().await;
    edit(&world, world.alex, |alex| alex.permissions = [Permission::ViewAudit].into_iter().collect()).await;
    world.back_up().await;
    // An administrator lacks no permission, whatever is stored beside that.
    edit(&world, world.alex, |alex| {
        (alex.administrator, alex.permissions) = (true, Permissions::default());
    })
    .await;
    let found = world.restore(Revival::Refused).await.differences;
    assert_eq!(kinds(&found), [DifferenceKind::RightsGiven]);
    assert!(!world.user(world.alex).await.administrator);
    edit(&world, world.alex, |alex| alex.permissions = Permissions::default()).await;
    assert_eq!(kinds(&world.restore(Revival::Refused).await.differences), [DifferenceKind::Rights]);

    edit(&world, world.alex, |alex| alex.active = false).await;
    world.back_up_again().await;
    edit(&world, world.alex, |alex| alex.active = true).await;
    let found = world.restore(Revival::Refused).await.differences;
    assert_eq!(kinds(&found), [DifferenceKind::UserReactivated]);
}
